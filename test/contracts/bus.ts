/**
 * What every bus must do (services/host/bus/bus.ts B1 to B6, protocol/subjects/frames.ts F1 to F5), as code each
 * implementation runs. The three roles may be one bus or three on connections of their own.
 */
import { afterEach, beforeEach, describe } from 'vitest';
import { Bench, type Buses } from './bus-bench.ts';
import { callsContract } from './bus-calls.ts';
import { flowContract } from './bus-flow.ts';
import { handlersContract } from './bus-handlers.ts';

export function busContract(name: string, open: () => Promise<Buses>): void {
  describe(name, () => {
    const bench = new Bench();
    beforeEach(() => bench.open(open));
    afterEach(() => bench.close());

    callsContract(bench);
    flowContract(bench);
    handlersContract(bench);
  });
}
