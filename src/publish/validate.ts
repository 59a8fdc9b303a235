import type { StandardSchemaV1 } from '@standard-schema/spec';
import { HoldfastError } from '../errors.ts';

/** Issues of a schema as one line: paths and messages, never the values. */
export function issuesText(issues: readonly StandardSchemaV1.Issue[]): string {
  return issues
    .slice(0, 5)
    .map((issue) => {
      const path = (issue.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.');
      return path === '' ? issue.message : `${path}: ${issue.message}`;
    })
    .join('; ');
}

/**
 * Checks a payload against the topic's schema, if it has one. Synchronous where the schema is, so that publishes of one
 * tick share a batch. The parsed output is not used: what is encoded is the input (S13).
 */
export function validate(
  topic: string,
  schema: StandardSchemaV1 | undefined,
  payload: unknown,
): undefined | Promise<undefined> {
  if (schema === undefined) return undefined;
  const result = schema['~standard'].validate(payload);
  if (result instanceof Promise) return result.then((settled) => assertValid(topic, settled));
  return assertValid(topic, result);
}

function assertValid(topic: string, result: StandardSchemaV1.Result<unknown>): undefined {
  if (result.issues === undefined) return undefined;
  throw new HoldfastError(
    'schema-mismatch',
    `The payload does not match the schema of topic "${topic}": ${issuesText(result.issues)}`,
    {
      details: {
        topic,
        issues: result.issues.map((issue) => ({ path: issue.path?.map(String), message: issue.message })),
      },
    },
  );
}
