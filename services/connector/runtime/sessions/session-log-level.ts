/** logging/setLevel of a session over several targets: all that log are told. */
import { Fault } from '#protocol/faults/fault.ts';
import { CODE } from '#protocol/mcp/message.ts';
import { clock } from '#host/clock.ts';
import type { ClientSettings } from './client-settings.ts';
import type { SessionMembers } from './session-members.ts';
import { UpstreamCall, ask } from '../targets/upstream.ts';

const FANOUT_MS = 15_000;

/** @throws Fault when nobody logs, or one refuses the level. */
export async function setLevelEverywhere(members: SessionMembers, call: UpstreamCall, settings: ClientSettings): Promise<Record<string, unknown>> {
  const able = [...members.all.values()].filter((member) => 'logging' in member.capabilities);
  settings.remember(call, '');
  if (able.length === 0) throw new Fault('invalid', `Method not found: ${call.method}`, { rpc: String(CODE.methodNotFound) });
  const deadline = Math.min(call.deadline, clock() + FANOUT_MS);
  const answers = await Promise.all(able.map((member) => ask(member.upstream, new UpstreamCall({ ...call, payload: call.payload, deadline }))));
  const refusal = answers.find((answer) => answer.error)?.error;
  if (refusal) throw new Fault('invalid', refusal.message, { rpc: String(refusal.code) });
  return {};
}
