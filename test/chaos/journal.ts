/** Where everybody writes down what happens, while it happens. */
import type { Call, FaultRecord, Heard, History } from './history.ts';
import type { Effect } from './tools.ts';

export class Journal {
  readonly calls: Call[] = [];
  readonly heard: Heard[] = [];
  readonly faults: FaultRecord[] = [];
  readonly troubles: string[] = [];

  history(effects: readonly Effect[]): History {
    return { calls: this.calls, heard: this.heard, faults: this.faults, troubles: this.troubles, effects };
  }
}
