/** Read once: the property costs more than the clock. */
const ORIGIN_MS = performance.timeOrigin;

/**
 * The clock deadlines and waits are measured by: ms since the epoch as it was when the process started, and never set
 * back or forward. The system's clock may jump an hour; a call in flight must not notice.
 */
export const clock = (): number => ORIGIN_MS + performance.now();
