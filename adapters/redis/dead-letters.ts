import type { Redis } from 'ioredis';
import type { DeadLetterStore, Headers, Priority, SettleOutcome, StoredLetter } from '../../src/port.ts';
import type { Link } from './connection.ts';
import { durable } from './durable.ts';
import { copyFields, fromFields, markFields } from './headers.ts';
import type { Settings } from './options.ts';
import { settleThroughOutages } from './outages.ts';
import { allowWhenFull, run, type Script } from './scripts.ts';

/**
 * Back to the stream each came from, copy and removal in one step. ARGV: number of mark fields, mark fields, letter ids.
 * Answers one letter each: `s`ettled, or `x` where it is not there any more.
 */
const replayScript: Script = {
  name: 'replay',
  lua: `${allowWhenFull}${copyFields}
local base, dead, out = KEYS[1], KEYS[1] .. ':dead', {}
local marks = { unpack(ARGV, 2, 1 + ARGV[1]) }
for i = 2 + ARGV[1], #ARGV do
  local letter = redis.call('XRANGE', dead, ARGV[i], ARGV[i])[1]
  if letter then
    local fields = { unpack(letter[2], 3) }
    redis.call('XADD', base .. ':' .. letter[2][2], '*', unpack(copy_fields(fields, dead .. '/' .. ARGV[i], marks)))
    redis.call('XDEL', dead, ARGV[i])
  end
  out[#out + 1] = letter and 's' or 'x'
end
return table.concat(out)
`,
};

const discardScript: Script = {
  name: 'discard',
  lua: `${allowWhenFull}
local out = {}
for i = 1, #ARGV do out[i] = redis.call('XDEL', KEYS[1] .. ':dead', ARGV[i]) == 1 and 's' or 'x' end
return table.concat(out)
`,
};

export interface DeadLetterNeeds {
  readonly settings: Settings;
  readonly control: Link;
}

/** Dead letters are a stream: read by range, without a lock, and removed one by one. */
export function deadLetterStore({ settings, control }: DeadLetterNeeds, base: string): DeadLetterStore {
  const key = `${base}:dead`;
  const patienceMs = settings.commandTimeoutMs;

  async function* scan(pageSize: number, signal: AbortSignal | undefined): AsyncGenerator<readonly StoredLetter[]> {
    const use = async <T>(work: (client: Redis) => Promise<T>): Promise<T> => {
      signal?.throwIfAborted();
      await control.ready(patienceMs);
      return await control.use(work);
    };
    const newest = await use((client) => client.xrevrange(key, '+', '-', 'COUNT', 1));
    // Letters that come in during the walk wait for the next one: a replay that fails again would never end it.
    const end = newest[0]?.[0];
    let from = '-';
    while (end !== undefined) {
      const page = (await use((client) => client.callBuffer('XRANGE', key, from, end, 'COUNT', pageSize))) as [
        Buffer,
        Buffer[],
      ][];
      const last = page.at(-1)?.[0].toString();
      if (last === undefined) return;
      yield page.map(letterOf);
      if (page.length < pageSize || last === end) return;
      from = `(${last}`;
    }
  }

  function each(letters: readonly StoredLetter[], script: Script, first: readonly (string | number)[]) {
    const ids = letters.map(({ letterId }) => letterId);
    if (ids.length === 0) return Promise.resolve([]);
    return settleThroughOutages(control, patienceMs, ids.length, async (client) => {
      const outcomes: SettleOutcome[] = [];
      for (let at = 0; at < ids.length; at += 500) {
        const answer = (await run(client, script, base, [...first, ...ids.slice(at, at + 500)])) as string;
        for (const letter of answer) outcomes.push(letter === 's' ? 'settled' : 'stale');
      }
      await durable(client, settings.durability);
      return outcomes;
    });
  }

  return {
    scan: ({ pageSize, signal }) => scan(pageSize, signal),
    replay(letters, marks: Headers) {
      const fields = markFields(marks);
      return each(letters, replayScript, [fields.length, ...fields]);
    },
    discard: (letters) => each(letters, discardScript, []),
    count: () => control.use((client) => client.xlen(key)),
  };
}

/** The first field says which stream it came from. An entry's id begins with the server's time when it was added. */
function letterOf([id, [, from, ...fields]]: [Buffer, Buffer[]]): StoredLetter {
  const letterId = id.toString('latin1');
  return {
    letterId,
    message: fromFields(fields),
    lane: (from?.toString().split(':')[0] ?? 'normal') as Priority,
    deadAt: Number(letterId.split('-')[0]),
    handle: letterId,
  };
}
