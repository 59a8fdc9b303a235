import type { Redis } from 'ioredis';
import type { DeadLetterStore, Headers, Priority, Replacement, SettleOutcome, StoredLetter } from '../../src/port.ts';
import { copyFields, fromFields, markFields, toFields } from './headers.ts';
import { type SettleNeeds, settleThroughOutages } from './outages.ts';
import { type Packable, pack } from './pack.ts';
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

/**
 * Messages in place of letters, each in one step with the removal. ARGV: packed triples of letter id, partition or '', fields.
 * A message goes to the stream that the letter came from; in an ordered group, to its partition's where it has one.
 */
const replaceScript: Script = {
  name: 'replace',
  lua: `${allowWhenFull}
local base, dead, out = KEYS[1], KEYS[1] .. ':dead', {}
for _, one in ipairs(cmsgpack.unpack(ARGV[1])) do
  local id, partition, fields = unpack(one)
  local letter = redis.call('XRANGE', dead, id, id)[1]
  if letter then
    local stream = letter[2][2]
    local lane = string.match(stream, '^(.*):')
    if lane and partition ~= '' then stream = lane .. ':' .. partition end
    redis.call('XADD', base .. ':' .. stream, '*', unpack(fields))
    redis.call('XDEL', dead, id)
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

/** Most letters of one script call. */
const MOST = 500;
/** The same where their bodies go along. */
const MOST_BODIES = 20;

/** Dead letters are a stream: read by range, without a lock, and removed one by one. */
export function deadLetterStore(needs: SettleNeeds, base: string): DeadLetterStore {
  const { settings, control } = needs;
  const key = `${base}:dead`;
  const patienceMs = settings.commandTimeoutMs;

  async function* scan({
    pageSize,
    signal,
    after,
  }: Parameters<DeadLetterStore['scan']>[0]): AsyncGenerator<readonly StoredLetter[]> {
    const use = async <T>(work: (client: Redis) => Promise<T>): Promise<T> => {
      signal?.throwIfAborted();
      await control.ready(patienceMs);
      return await control.use(work);
    };
    const newest = await use((client) => client.xrevrange(key, '+', '-', 'COUNT', 1));
    // Letters that come in during the walk wait for the next one: a replay that fails again would never end it.
    const end = newest[0]?.[0];
    let from = entryBehind(after);
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

  /** Chunks of a bounded size, since a script holds up the whole server. */
  function each<T>(
    items: readonly T[],
    script: Script,
    argsOf: (chunk: readonly T[]) => readonly (string | number | Buffer)[],
    most: number = MOST,
  ): Promise<SettleOutcome[]> {
    if (items.length === 0) return Promise.resolve([]);
    const what = { count: items.length, patienceMs };
    return settleThroughOutages(needs, what, async (client) => {
      const outcomes: SettleOutcome[] = [];
      for (let at = 0; at < items.length; at += most) {
        const answer = (await run(client, script, base, argsOf(items.slice(at, at + most)))) as string;
        for (const letter of answer) outcomes.push(letter === 's' ? 'settled' : 'stale');
      }
      await needs.crashPoint?.('redis:letters-written');
      return outcomes;
    });
  }

  return {
    sorted: true,
    scan,
    replay(letters, marks: Headers) {
      const fields = markFields(marks);
      return each(letters, replayScript, (chunk) => [
        fields.length,
        ...fields,
        ...chunk.map(({ letterId }) => letterId),
      ]);
    },
    replace: (replacements) =>
      each(
        replacements,
        replaceScript,
        (chunk) => {
          let bytes = 1_000;
          for (const { message } of chunk) bytes += message.body.length + 500;
          return [pack(chunk.map(packable), bytes)];
        },
        MOST_BODIES,
      ),
    discard: (letters) => each(letters, discardScript, (chunk) => chunk.map(({ letterId }) => letterId)),
    count: () => control.use((client) => client.xlen(key)),
  };
}

function packable({ letter, message, marks }: Replacement): Packable {
  return [letter.letterId, String(message.partition ?? ''), [...toFields(message), ...markFields(marks)]];
}

/** Entry ids as text that compares: milliseconds and a number among those of the same. */
const placeOf = (entryId: string): string => {
  const [ms = '', number = ''] = entryId.split('-');
  return `${ms.padStart(16, '0')}-${number.padStart(20, '0')}`;
};

/** Where a range begins behind this place; at the beginning without one. */
function entryBehind(place: string | undefined): string {
  const [, ms, number] = /^0*(\d{1,16})-0*(\d{1,20})$/.exec(place ?? '') ?? [];
  return ms === undefined || number === undefined ? '-' : `(${ms}-${number}`;
}

/** The first field says which stream it came from. An entry's id begins with the server's time when it was added. */
function letterOf([id, [, from, ...fields]]: [Buffer, Buffer[]]): StoredLetter {
  const letterId = id.toString('latin1');
  return {
    letterId,
    place: placeOf(letterId),
    message: fromFields(fields),
    lane: (from?.toString().split(':')[0] ?? 'normal') as Priority,
    deadAt: Number(letterId.split('-')[0]),
    handle: letterId,
  };
}
