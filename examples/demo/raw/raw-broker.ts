import type { GroupName } from '../topics.ts';

/** A record of a producer that does not use holdfast. */
export interface RawRecord {
  readonly id: string;
  readonly key: string;
  readonly body: Buffer;
}

export interface RawLetter {
  readonly id: string;
  readonly reason: string;
}

/** What else the broker's own client finds in it. */
export interface FoundLetter extends RawLetter {
  readonly attempts: number;
  readonly body: string;
}

/** The broker by its own client: what faults are made with, and what evidence is taken with. */
export interface RawBroker {
  /** Gives the record to every group. */
  add(record: RawRecord): Promise<void>;
  /** How many messages the broker still has for the group, as far as its client can tell, dead letters aside. */
  left(group: GroupName): Promise<number>;
  /** The group's dead letters; they stay where they are. */
  dead(group: GroupName): Promise<readonly RawLetter[]>;
  close(): Promise<void>;
}
