/** The bus's clock: it stands still while the connection to NATS is away, so that no wait runs out that could not be met. */
export const TICK_MS = 50;

export const ticks = (ms: number): number => Math.ceil(ms / TICK_MS);
