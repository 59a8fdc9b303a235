/** Text that is shown to people, on terminals and in lists, whoever wrote it. */

// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is what it is for
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

const ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** Whether nothing in it would be shown as something else, or not at all. */
export const isPrintable = (text: string): boolean => text.isWellFormed() && text.search(UNPRINTABLE) === -1;

/**
 * A text on one line that a terminal shows as it is: control characters (ANSI sequences, line breaks, changes of writing
 * direction) as their escapes. Cut to `maxBytes` of UTF-8.
 */
export function printable(text: string, maxBytes: number): string {
  // No character takes less than a byte: what is beyond is cut in any case, and need not be looked at.
  const escaped = text
    .slice(0, maxBytes + 1)
    .toWellFormed()
    .replace(UNPRINTABLE, (character) => {
      const code = character.charCodeAt(0);
      return (
        ESCAPES[character] ?? (code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`)
      );
    });
  if (Buffer.byteLength(escaped) <= maxBytes) return escaped;
  // The ellipsis takes three; a character that the cut has split is left out.
  const cut = Buffer.from(escaped).subarray(0, Math.max(0, maxBytes - 3));
  return `${cut.toString('utf8').replace(/\ufffd$/, '')}…`;
}
