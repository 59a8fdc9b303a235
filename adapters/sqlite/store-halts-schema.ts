/** A version of the store's schema. */
export const haltTables: string = `
   -- Keys of ordered groups that stand still, until they are released.
   CREATE TABLE holdfast_halted_keys (
     "group" TEXT NOT NULL, topic TEXT NOT NULL, key TEXT NOT NULL, releasing INTEGER NOT NULL DEFAULT 0,
     halted_at INTEGER NOT NULL, PRIMARY KEY ("group", topic, key)) STRICT, WITHOUT ROWID;
   -- Which of their messages wait, in order. The messages themselves are dead letters.
   CREATE TABLE holdfast_halted_messages (
     seq INTEGER PRIMARY KEY AUTOINCREMENT, "group" TEXT NOT NULL, topic TEXT NOT NULL, key TEXT NOT NULL,
     message TEXT NOT NULL, token TEXT NOT NULL, UNIQUE ("group", topic, key, message)) STRICT;
   CREATE INDEX holdfast_halted_messages_order ON holdfast_halted_messages ("group", topic, key, seq);`;
