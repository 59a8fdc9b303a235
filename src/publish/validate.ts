import type { StandardSchemaV1 } from '@standard-schema/spec';
import { HoldfastError, textOf } from '../errors.ts';
import { printable } from '../printable.ts';

/** Issues of a schema as one line: paths and messages, never the values. */
export function issuesText(issues: readonly StandardSchemaV1.Issue[]): string {
  const text = issues
    .slice(0, 5)
    .map((issue) => {
      const path = (issue.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.');
      return path === '' ? issue.message : `${path}: ${issue.message}`;
    })
    .join('; ');
  return printable(text, 2_048);
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
  let result: StandardSchemaV1.Result<unknown> | Promise<StandardSchemaV1.Result<unknown>>;
  try {
    result = schema['~standard'].validate(payload);
  } catch (error) {
    throw unchecked(topic, error);
  }
  if (!(result instanceof Promise)) return assertValid(topic, result);
  return result.then(
    (settled) => assertValid(topic, settled),
    (error: unknown) => {
      throw unchecked(topic, error);
    },
  );
}

/** The schema itself has failed: whether the payload matches is not known. */
const unchecked = (topic: string, error: unknown): HoldfastError =>
  new HoldfastError(
    'schema-mismatch',
    `The schema of topic "${topic}" threw instead of checking the payload: ${textOf(error)}`,
    { cause: error, details: { topic } },
  );

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
