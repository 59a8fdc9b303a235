import { describe, it } from 'vitest';
import { memoryDedupe } from '../../src/index.ts';
import { dedupeStoreSuite } from '../conformance/index.ts';

describe('memory dedupe', () =>
  dedupeStoreSuite({
    it: it.concurrent,
    async open(limits) {
      const store = memoryDedupe(limits);
      return { store, other: store, close: async () => undefined };
    },
  }));
