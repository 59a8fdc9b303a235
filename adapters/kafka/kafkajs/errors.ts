/** What is asked of kafkajs's errors. They are told apart by name and type, since a second copy of kafkajs may be loaded. */
interface KafkajsError {
  readonly name?: string;
  /** The protocol's error code by name, as in `NOT_ENOUGH_REPLICAS`. */
  readonly type?: string;
  readonly retriable?: boolean;
  readonly cause?: unknown;
  readonly errors?: readonly unknown[];
}

/** The broker has looked at it, and may have stored it all the same, or its numbering is unclear. */
const undecided = new Set([
  'UNKNOWN',
  'REQUEST_TIMED_OUT',
  'NETWORK_EXCEPTION',
  'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
  'KAFKA_STORAGE_ERROR',
  'DUPLICATE_SEQUENCE_NUMBER',
]);
/** This producer's sequence numbers are of no use any more. */
const fencing = new Set([
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'DUPLICATE_SEQUENCE_NUMBER',
  'UNKNOWN_PRODUCER_ID',
  'INVALID_PRODUCER_EPOCH',
  'INVALID_PRODUCER_ID_MAPPING',
]);
const permanent = new Set([
  'MESSAGE_TOO_LARGE',
  'RECORD_LIST_TOO_LARGE',
  'INVALID_RECORD',
  'INVALID_TIMESTAMP',
  'INVALID_TOPIC_EXCEPTION',
  'UNSUPPORTED_FOR_MESSAGE_FORMAT',
  'UNSUPPORTED_COMPRESSION_TYPE',
  'TOPIC_AUTHORIZATION_FAILED',
  'GROUP_AUTHORIZATION_FAILED',
  'CLUSTER_AUTHORIZATION_FAILED',
  'TRANSACTIONAL_ID_AUTHORIZATION_FAILED',
  'SASL_AUTHENTICATION_FAILED',
  'UNSUPPORTED_SASL_MECHANISM',
  'POLICY_VIOLATION',
  'UNKNOWN_TOPIC_OR_PARTITION',
  'INVALID_REQUIRED_ACKS',
  'INCONSISTENT_GROUP_PROTOCOL',
]);
const passing = new Set([
  'BROKER_NOT_AVAILABLE',
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'DUPLICATE_SEQUENCE_NUMBER',
  'UNKNOWN_PRODUCER_ID',
  'INVALID_PRODUCER_EPOCH',
  'UNKNOWN_MEMBER_ID',
  'ILLEGAL_GENERATION',
  'REBALANCE_IN_PROGRESS',
]);
const connectionNames = new Set([
  'KafkaJSConnectionError',
  'KafkaJSConnectionClosedError',
  'KafkaJSRequestTimeoutError',
  'KafkaJSBrokerNotFound',
  'KafkaJSNoBrokerAvailableError',
  'KafkaJSLockTimeout',
  'KafkaJSTimeout',
  'KafkaJSMetadataNotLoaded',
  'KafkaJSTopicMetadataNotLoaded',
  'KafkaJSGroupCoordinatorNotFound',
]);

/** An error and what caused it, outermost first. */
function* chain(error: unknown): Generator<KafkajsError> {
  let current = error;
  for (let depth = 0; depth < 8 && typeof current === 'object' && current !== null; depth++) {
    yield current as KafkajsError;
    current = (current as KafkajsError).cause ?? (current as KafkajsError).errors?.[0];
  }
}

/** The protocol's error code in it, wherever. */
export function protocolType(error: unknown): string | undefined {
  for (const { type } of chain(error)) if (typeof type === 'string') return type;
  return undefined;
}

export const isUndecided = (type: string): boolean => undecided.has(type);
export const isFencing = (type: string): boolean => fencing.has(type);
/** Asked of the wrong broker, or a moment too early. */
export const isMisrouted = (type: string | undefined): boolean =>
  type === 'NOT_LEADER_FOR_PARTITION' || type === 'LEADER_NOT_AVAILABLE' || type === 'UNKNOWN_TOPIC_OR_PARTITION';

export function isLogin(error: unknown): boolean {
  const type = protocolType(error);
  for (const { name } of chain(error)) if (name === 'KafkaJSSASLAuthenticationError') return true;
  return (
    type === 'SASL_AUTHENTICATION_FAILED' ||
    type === 'UNSUPPORTED_SASL_MECHANISM' ||
    type?.endsWith('AUTHORIZATION_FAILED') === true
  );
}

/** Whether trying again may help. */
export function isTransient(error: unknown): boolean {
  const type = protocolType(error);
  if (type !== undefined && permanent.has(type)) return false;
  if (type !== undefined && passing.has(type)) return true;
  if (isLogin(error)) return false;
  let innermost: KafkajsError | undefined;
  for (const one of chain(error)) {
    if (one.name !== undefined && connectionNames.has(one.name)) return true;
    innermost = one;
  }
  return innermost?.retriable === true;
}
