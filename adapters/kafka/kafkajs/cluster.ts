import type { Consumer, Kafka } from 'kafkajs';
import type { NewRecord } from '../client.ts';
import type { Sockets } from './sockets.ts';

/*
 * kafkajs hands its cluster, by which single requests can be made, to partition assigners; its types declare most of
 * it. This is the part that is used here (kafkajs 2.2.4, src/cluster and src/broker).
 */

export interface RawPartition {
  readonly partitionId: number;
  readonly leader: number;
  readonly replicas: readonly number[];
}

export interface RawRecord {
  readonly offset: string;
  readonly timestamp: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly isControlRecord?: boolean;
}

type RawOffsets = readonly {
  readonly topic: string;
  readonly partitions: readonly {
    readonly partition: number;
    readonly offset: string;
    readonly metadata: string | null;
  }[];
}[];

export interface RawBroker {
  apiVersions(): Promise<unknown>;
  metadata(topics: readonly string[]): Promise<{
    readonly topicMetadata: readonly { readonly topic: string; readonly partitionMetadata: readonly RawPartition[] }[];
  }>;
  createTopics(request: { topics: readonly object[]; timeout: number }): Promise<unknown>;
  describeConfigs(request: { resources: readonly { type: number; name: string; configNames?: string[] }[] }): Promise<{
    readonly resources: readonly {
      readonly configEntries: readonly { readonly configName: string; readonly configValue: string | null }[];
    }[];
  }>;
  initProducerId(request: object): Promise<{ readonly producerId: string; readonly producerEpoch: number }>;
  produce(request: {
    producerId: string;
    producerEpoch: number;
    acks: number;
    timeout: number;
    topicData: readonly {
      topic: string;
      partitions: readonly { partition: number; firstSequence: number; messages: readonly NewRecord[] }[];
    }[];
  }): Promise<{
    readonly topics: readonly {
      readonly partitions: readonly { readonly baseOffset: string; readonly logAppendTime?: string }[];
    }[];
  }>;
  offsetFetch(request: {
    groupId: string;
    topics: readonly { topic: string; partitions: readonly { partition: number }[] }[];
  }): Promise<{ readonly responses: RawOffsets }>;
  offsetCommit(request: {
    groupId: string;
    groupGenerationId: number;
    memberId: string;
    topics: readonly {
      topic: string;
      partitions: readonly { partition: number; offset: string; metadata: string }[];
    }[];
  }): Promise<unknown>;
  findGroupCoordinator(request: { groupId: string; coordinatorType: number }): Promise<unknown>;
  joinGroup(request: { readonly memberId: string }): Promise<{ readonly memberId: string }>;
  leaveGroup(request: { groupId: string; memberId: string }): Promise<unknown>;
  listOffsets(request: {
    replicaId: number;
    isolationLevel: number;
    topics: readonly { topic: string; partitions: readonly { partition: number; timestamp: number }[] }[];
  }): Promise<{
    readonly responses: readonly {
      readonly topic: string;
      readonly partitions: readonly { readonly partition: number; readonly offset: string }[];
    }[];
  }>;
  fetch(request: {
    maxWaitTime: number;
    minBytes: number;
    maxBytes: number;
    isolationLevel: number;
    topics: readonly {
      topic: string;
      partitions: readonly { partition: number; fetchOffset: string; maxBytes: number }[];
    }[];
  }): Promise<{
    readonly responses: readonly {
      readonly topicName: string;
      readonly partitions: readonly {
        readonly partition: number;
        readonly highWatermark: string;
        readonly messages: readonly RawRecord[];
      }[];
    }[];
  }>;
}

export interface RawCluster {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  refreshMetadata(): Promise<void>;
  findBroker(node: { nodeId: number }): Promise<RawBroker>;
  findControllerBroker(): Promise<RawBroker>;
  findGroupCoordinator(group: { groupId: string; coordinatorType?: number }): Promise<RawBroker>;
  readonly brokerPool: { findConnectedBroker(): Promise<RawBroker> };
}

/** A cluster of its own, for requests outside of any group. Nothing is connected yet. */
export function rawClusterOf(kafka: Kafka, sockets: Sockets): RawCluster {
  let raw: unknown;
  const carrier = kafka.consumer({
    groupId: 'holdfast',
    allowAutoTopicCreation: false,
    partitionAssigners: [
      ({ cluster }) => {
        raw = cluster;
        return {
          name: 'none',
          version: 0,
          protocol: () => ({ name: 'none', metadata: Buffer.alloc(0) }),
          assign: async () => [],
        };
      },
    ],
  });
  leaveSilence(carrier, sockets);
  const cluster = raw as Partial<RawCluster> | undefined;
  if (
    typeof cluster?.findGroupCoordinator !== 'function' ||
    typeof cluster.brokerPool?.findConnectedBroker !== 'function'
  )
    throw new Error('this version of kafkajs is not known to holdfast/kafka: use 2.2.4');
  return cluster as RawCluster;
}

/** From now on an unanswered request costs its connection, whoever made it. */
export function leaveSilence(consumer: Consumer, sockets: Sockets): void {
  consumer.on(consumer.events.REQUEST_TIMEOUT, ({ payload }) => sockets.silent(payload.broker));
}
