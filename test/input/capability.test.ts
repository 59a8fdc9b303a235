import { type BrokerAdapter, type Capabilities, connect, defineTopic } from 'holdfast';
import { memory } from 'holdfast/memory';
import { expect, it } from 'vitest';

function lacking(what: Partial<Capabilities>): BrokerAdapter {
  const inner = memory();
  return { ...inner, name: 'modest', capabilities: { ...inner.capabilities, ...what } };
}

it('an ordered group is refused where the adapter has no order', async () => {
  await using client = await connect({ adapter: lacking({ order: 'none' }) });
  const topic = defineTopic<number>('capability.order', { key: String, groups: { g: { order: 'key' } } });
  const refusal = { code: 'unsupported', message: expect.stringMatching(/needs order by key.*"g".*modest/) };
  await expect(client.publish(topic, 1)).rejects.toMatchObject({ ...refusal, outcome: 'not-sent' });
  await expect(client.consume(topic, { group: 'g' }, () => undefined)).rejects.toMatchObject(refusal);
});

it('lanes are refused where the adapter has none', async () => {
  await using client = await connect({ adapter: lacking({ priority: 'none' }) });
  const topic = defineTopic<number>('capability.lanes', { priority: 'high', groups: ['g'] });
  await expect(client.publish(topic, 1)).rejects.toMatchObject({
    code: 'unsupported',
    message: expect.stringContaining('priority lanes'),
  });
});

it('a delay is refused where the adapter cannot delay', async () => {
  await using client = await connect({ adapter: lacking({ delayedPublish: 'none' }) });
  const topic = defineTopic<number>('capability.delay', { groups: ['g'] });
  await expect(client.publish(topic, 1, { delayMs: 5 })).rejects.toMatchObject({
    code: 'unsupported',
    outcome: 'not-sent',
  });
  await client.publish(topic, 1);
});
