/** How records of earlier versions become the newest: one step per version, applied in turn. A step never loses a session. */

type Step = (record: Record<string, unknown>) => Record<string, unknown>;

/** From the version that is the key to the next one. */
const STEPS: Readonly<Record<number, Step>> = {
  /** 1 knew neither who listens nor sessions nobody owns. */
  1: (record) => (record['state'] === 'open' ? { ...record, v: 2, listening: false } : { ...record, v: 2 }),
};

export function migrate(value: unknown): unknown {
  let record = value;
  for (;;) {
    const step = isRecord(record) ? STEPS[Number(record['v'])] : undefined;
    if (step === undefined) return record;
    record = step(record as Record<string, unknown>);
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
