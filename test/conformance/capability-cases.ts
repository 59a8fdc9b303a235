import assert from 'node:assert/strict';
import type { ExpectedCapabilities } from './expected.ts';
import type { Suite } from './options.ts';

/** S38: an adapter cannot pass by declaring less. */
export function capabilityCases(suite: Suite): void {
  suite.case('S38: the adapter has the capabilities that it is held to', async (world) => {
    assert.deepEqual(comparable(world.suite.adapter().capabilities), comparable(suite.capabilities));
  });

  suite.case('its sizes and windows make sense', async (world) => {
    const { flow, maxBodyBytes, defaultPartitions } = world.suite.adapter().capabilities;
    for (const value of [flow.batchMessages, flow.batchBytes, flow.window, maxBodyBytes, defaultPartitions]) {
      assert.ok(Number.isSafeInteger(value) && value >= 1, String(value));
    }
  });
}

function comparable({ flow, backlog, ...rest }: ExpectedCapabilities): unknown {
  return { stablePositions: false, marks: false, ...rest, backlog: [...backlog].sort(), exclusive: flow.exclusive };
}
