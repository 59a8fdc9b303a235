import type { RawBroker, RawCluster } from './cluster.ts';

const GROUP = 0;

/**
 * The broker that keeps a group. kafkajs answers every refusal by "failed to find group coordinator", which looks
 * passing; so a broker is asked once more, whose error says what it is: a missing right, for one.
 */
export async function coordinatorOf(
  cluster: RawCluster,
  groupId: string,
  find: RawCluster['findGroupCoordinator'] = (group) => cluster.findGroupCoordinator(group),
): Promise<RawBroker> {
  try {
    return await find({ groupId });
  } catch (error) {
    if ((error as { name?: unknown } | null)?.name !== 'KafkaJSGroupCoordinatorNotFound') throw error;
    const broker = await cluster.brokerPool.findConnectedBroker();
    await broker.findGroupCoordinator({ groupId, coordinatorType: GROUP });
    throw error;
  }
}
