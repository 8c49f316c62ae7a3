/** What a client does with what it meets: the wire is played by a script, the rest is real. */
import { describe, expect, test } from 'vitest';
import type { Hears } from './client.ts';
import type { Outcome } from './history.ts';
import { Journal } from './journal.ts';
import { Random } from './random.ts';
import { Session } from './session.ts';
import { TOOLS, type Mark, type ToolName } from './tools.ts';
import { eventually } from '../world/parley.ts';

const CUT: Outcome = { kind: 'cut', message: '' };
const REFUSED: Outcome = { kind: 'refused', message: '', retryMs: 1 };
const LOST: Outcome = { kind: 'lost', message: '' };

interface Sent extends Mark {
  readonly tool: ToolName;
}

interface Script {
  readonly journal: Journal;
  readonly session: Session;
  readonly sent: Sent[];
  readonly closed: string[];
}

/** @param next what becomes of a call; undefined = it is answered as it should be. */
function play(next: (sent: Sent, turn: number, hears: Hears) => Outcome | undefined, opening: readonly Outcome[] = []): Script {
  const [journal, sent, closed, openings] = [new Journal(), [] as Sent[], [] as string[], [...opening]];
  const session: Session = new Session({
    name: 's1',
    random: new Random(1),
    journal,
    pauseMs: 50,
    openPeer: (hears) => ({
      open: async () => openings.shift() ?? { kind: 'answered', mark: undefined },
      call: async (tool, args) => {
        const one: Sent = { tool, marker: String(args['marker']), key: String(args['key']) };
        const turn = sent.push(one);
        return { outcome: next(one, turn, hears) ?? { kind: 'answered', mark: { marker: one.marker, key: one.key } }, resumed: 0 };
      },
      setLevel: async () => ({ outcome: openings.shift() ?? { kind: 'answered', mark: undefined }, resumed: 0 }),
      close: async () => void closed.push(session.marker),
    }),
  });
  return { journal, session, sent, closed };
}

describe('a client', () => {
  test('repeats a read that was cut or refused under a key of its own, and writes down one call', async () => {
    const { session, journal, sent } = play((_sent, turn) => [CUT, REFUSED][turn - 1]);
    await session.open();
    expect(await session.probe(7)).toBe(true);
    expect(new Set(sent.map(({ key }) => key)).size).toBe(3);
    const { attempts, probe, name } = journal.calls[1] ?? { attempts: [] };
    expect({ name, probe, outcomes: attempts.map(({ outcome }) => outcome.kind), keys: attempts.map(({ key }) => key) }).toEqual({ name: 'read', probe: 7, outcomes: ['cut', 'refused', 'answered'], keys: sent.map(({ key }) => key) });
  });

  test('sends what may not run twice once, whatever becomes of it', async () => {
    const { session, journal, sent } = play(({ tool }) => (TOOLS[tool].safety === 'once' ? CUT : undefined));
    await session.open();
    session.start();
    await eventually('several of them', () => (sent.filter(({ tool }) => TOOLS[tool].safety === 'once').length > 5 ? true : undefined));
    await session.stop();
    const once = journal.calls.filter(({ name }) => name in TOOLS && TOOLS[name as ToolName].safety === 'once');
    expect(once.length).toBeGreaterThan(5);
    expect(once.every(({ attempts }) => attempts.length === 1)).toBe(true);
    expect(new Set(sent.map(({ key }) => key)).size).toBe(sent.length);
  });

  test('does not repeat what failed', async () => {
    const { session, sent } = play(() => ({ kind: 'failed', status: 200, code: 1, message: '' }));
    await session.open();
    expect(await session.probe()).toBe(false);
    expect(sent).toHaveLength(1);
  });

  test('opens one new session when several calls find theirs lost, and writes down each', async () => {
    const { session, journal, sent, closed } = play(({ marker }) => (marker === 's1.1' ? LOST : undefined));
    await session.open();
    expect(await Promise.all([session.probe(), session.probe()])).toEqual([false, false]);
    expect(session.marker).toBe('s1.2');
    expect(await session.probe()).toBe(true);
    expect(sent.map(({ marker }) => marker)).toEqual(['s1.1', 's1.1', 's1.2']);
    expect(closed).toHaveLength(1);
    expect(journal.calls.map(({ session: marker, name, attempts }) => [marker, name, attempts.at(-1)?.outcome.kind])).toEqual([
      ['s1.1', 'initialize', 'answered'],
      ['s1.2', 'initialize', 'answered'],
      ['s1.1', 'read', 'lost'],
      ['s1.1', 'read', 'lost'],
      ['s1.2', 'read', 'answered'],
    ].toSorted((a, b) => order(journal, a) - order(journal, b)));
  });

  test('tries again to open a session, and says so when there is none to be had', async () => {
    const patient = play(() => undefined, [CUT, REFUSED]);
    await patient.session.open(3);
    expect(patient.journal.calls).toMatchObject([{ name: 'initialize', probe: 3, attempts: [{}, {}, { outcome: { kind: 'answered' } }] }]);
    await expect(play(() => undefined, [LOST]).session.open()).rejects.toThrow(/could not open a session/);
  });

  test('writes down what it hears with whom it came to, and the progress of its own calls', async () => {
    const { session, journal } = play(({ marker, key, tool }, _turn, hears) => {
      if (tool === 'streaming') for (const progress of [1, 2]) hears.progress({ marker, key }, key, progress);
      hears.announcement({ marker: 's9.1', key: 'k' });
      return undefined;
    });
    await session.open();
    session.start();
    await eventually('a streaming call', () => journal.calls.find(({ name }) => name === 'streaming'));
    await session.stop();
    expect(journal.heard.find(({ what }) => what === 'announcement')).toMatchObject({ session: 's1.1', mark: { marker: 's9.1' } });
    expect(journal.calls.find(({ name }) => name === 'streaming')?.attempts[0]?.progress).toEqual([1, 2]);
  });
});

/** Calls are written down as they end, in whichever order that is. */
function order({ calls }: Journal, [marker, name]: readonly unknown[]): number {
  return calls.findIndex((call) => call.session === marker && call.name === name);
}
