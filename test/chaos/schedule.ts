/** Which fault comes next: rounds in which every kind comes once, in an order, on victims and for times that follow from the seed. */
import { KINDS, type FaultKind } from './faults.ts';
import { Random } from './random.ts';

/** Short enough for a run, long enough that everybody has noticed (a silent NATS connection is left after 4.5 s). */
const HOLD_MS_MIN = 2_000;
const HOLD_MS_MAX = 7_000;
/** As a supervisor that starts it again. */
const AWAY_MS_MAX = 1_500;

export interface PlannedFault {
  readonly n: number;
  readonly kind: FaultKind;
  /** Which of the replicas, or of the NATS nodes: modulo how many there are. */
  readonly victim: number;
  /** How long a stop or a partition lasts. */
  readonly holdMs: number;
  /** How long a killed process stays away before it is started again. */
  readonly awayMs: number;
}

export interface ScheduleOptions {
  readonly seed: number;
  /** All unless given. */
  readonly kinds?: readonly FaultKind[];
}

/** Without end; a rolled die is asked in the same order whatever is done with the answers. */
export function* schedule({ seed, kinds = KINDS }: ScheduleOptions): Generator<PlannedFault, never> {
  const random = Random.of(seed, 0);
  for (let n = 1; ; ) {
    for (const kind of random.shuffled(kinds)) {
      yield { n, kind, victim: random.between(0, 999_999), holdMs: random.between(HOLD_MS_MIN, HOLD_MS_MAX), awayMs: random.between(0, AWAY_MS_MAX) };
      n += 1;
    }
  }
}
