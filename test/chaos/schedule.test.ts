import { describe, expect, test } from 'vitest';
import { allowedBy, isNatsKind, KINDS, partsOf, SERVICES } from './faults.ts';
import { Random } from './random.ts';
import { schedule, type PlannedFault } from './schedule.ts';

const take = (count: number, options: Parameters<typeof schedule>[0]): PlannedFault[] => {
  const plan = schedule(options);
  return Array.from({ length: count }, () => plan.next().value);
};

describe('a schedule', () => {
  test('follows from its seed', () => {
    expect(take(50, { seed: 1 })).toEqual(take(50, { seed: 1 }));
    expect(take(50, { seed: 1 })).not.toEqual(take(50, { seed: 2 }));
  });

  test('has every kind once in each round', () => {
    const plan = take(3 * KINDS.length, { seed: 5 }).map(({ kind }) => kind);
    for (let round = 0; round < 3; round += 1) {
      expect(plan.slice(round * KINDS.length, (round + 1) * KINDS.length).toSorted()).toEqual(KINDS.toSorted());
    }
    expect(plan.slice(0, KINDS.length)).not.toEqual(plan.slice(KINDS.length, 2 * KINDS.length));
  });

  test('has only the kinds that are asked for, numbered from 1', () => {
    const plan = take(4, { seed: 5, kinds: ['session-kill', 'nats-stop'] });
    expect(plan.map(({ n }) => n)).toEqual([1, 2, 3, 4]);
    expect(plan.map(({ kind }) => kind).toSorted()).toEqual(['nats-stop', 'nats-stop', 'session-kill', 'session-kill']);
  });

  test('chooses among all victims', () => {
    expect(new Set(take(200, { seed: 9 }).map(({ victim }) => victim % 3))).toEqual(new Set([0, 1, 2]));
  });
});

describe('the kinds of faults', () => {
  test('are every manner of every service, and those of NATS', () => {
    const services = KINDS.filter((kind) => kind !== 'calm' && !isNatsKind(kind));
    expect(services).toHaveLength(SERVICES.length * 4);
    expect(partsOf('connector-partition')).toEqual({ service: 'connector', manner: 'partition' });
    expect(KINDS.filter(isNatsKind)).toHaveLength(5);
  });

  test('allow only what is written down', () => {
    const allowing = KINDS.filter((kind) => Object.keys(allowedBy(kind)).length > 0);
    expect(allowing).toEqual(['connector-kill', 'connector-stop', 'connector-partition', 'ingress-kill', 'ingress-partition', ...KINDS.filter(isNatsKind)]);
  });
});

describe('chance', () => {
  test('is even', () => {
    const random = new Random(3);
    const drawn = Array.from({ length: 40_000 }, () => random.between(0, 3));
    for (const value of [0, 1, 2, 3]) expect(drawn.filter((one) => one === value).length / 10_000).toBeCloseTo(1, 1);
  });

  test('respects weights, and never picks what has none', () => {
    const random = new Random(3);
    const drawn = Array.from({ length: 10_000 }, () => random.pickWeighted([{ weight: 3, value: 'a' }, { weight: 1, value: 'b' }, { weight: 0, value: 'c' }]));
    expect(drawn.filter((one) => one === 'a').length / 7_500).toBeCloseTo(1, 1);
    expect(drawn).not.toContain('c');
  });

  test('of one client does not depend on what another has drawn', () => {
    expect(Random.of(1, 2).next()).toBe(Random.of(1, 2).next());
    expect(Random.of(1, 2).next()).not.toBe(Random.of(1, 3).next());
    expect(Random.of(1, 2).next()).not.toBe(Random.of(2, 2).next());
  });
});
