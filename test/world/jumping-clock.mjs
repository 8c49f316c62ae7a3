/** Preloaded (`--import`), it sets the system's clock, as the process sees it, an hour forward on SIGUSR2: Date alone, as a clock that is set does. */
const HOUR_MS = 3_600_000;
const RealDate = Date;
let ahead = 0;

globalThis.Date = class extends RealDate {
  constructor(...given) {
    if (given.length === 0) super(RealDate.now() + ahead);
    else super(...given);
  }

  static now() {
    return RealDate.now() + ahead;
  }
};

process.on('SIGUSR2', () => {
  ahead += HOUR_MS;
  process.stderr.write('the clock jumped\n');
});
