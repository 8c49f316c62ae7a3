import { describe, expect, test } from 'vitest';
import { KINDS } from './faults.ts';
import { HELP, readOptions } from './options.ts';

const read = (...args: string[]) => readOptions(args, () => 42);

describe('the command line', () => {
  test('without a word is short, and of every kind, with a seed of its own', () => {
    expect(read()).toMatchObject({ mode: 'faults', faults: Infinity, minutes: 1.5, seed: 42, kinds: KINDS, replicas: 2, clients: 32, sdk: 4 });
  });

  test('with a number of faults has no end but that, unless it is told one', () => {
    expect(read('--faults', '100')).toMatchObject({ faults: 100, minutes: Infinity });
    expect(read('--faults', '100', '--minutes', '0.5')).toMatchObject({ faults: 100, minutes: 0.5 });
  });

  test('takes kinds by name and by their beginning', () => {
    expect(read('--kinds', 'session-kill,nats-leader')).toMatchObject({ kinds: ['session-kill', 'nats-leader-kill', 'nats-leader-stop'] });
    expect(read('--kinds', 'connector')).toMatchObject({ kinds: ['connector-kill', 'connector-stop', 'connector-partition', 'connector-restart'] });
  });

  test('knows the rolling restart', () => {
    expect(read('rolling', '--clients', '8', '--sdk', '0')).toMatchObject({ mode: 'rolling', clients: 8, sdk: 0 });
  });

  test('explains itself', () => {
    expect(read('--help')).toBe('help');
    for (const kind of KINDS) expect(HELP).toContain(kind);
  });

  test.each([
    [['--faults', '0'], /--faults 0: a whole number from 1/],
    [['--faults', '1.5'], /--faults 1.5/],
    [['--minutes', 'soon'], /--minutes soon/],
    [['--minutes', '-1'], /--minutes/],
    [['--seed', '4294967296'], /--seed/],
    [['--kinds', 'earthquake'], /no kind earthquake/],
    [['--kinds', ''], /no kind/],
    [['--kinds', 'nats-'], /no kind nats-/],
    [['--replicas', '0'], /--replicas/],
    [['--clients', '2', '--sdk', '3'], /--sdk 3: a whole number from 0 to 2/],
    [['roll'], /roll: the only word is rolling/],
    [['rolling', 'rolling'], /the only word/],
    [['--fault', '1'], /--fault/],
  ])('refuses %j', (args, why) => {
    expect(() => read(...args)).toThrow(why);
  });
});
