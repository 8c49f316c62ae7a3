/**
 * The handshakes of one port, before HTTP begins.
 *
 * T1 A listener has a TLS server of its own, which never listens: nothing that was settled with one (tickets, versions,
 *    ciphers, whose client certificates count) works at another. Which one takes a connection is decided by the server name
 *    in its first bytes; a port with one listener does not look.
 * T2 Files and generations are taken whole or not at all: what cannot be used leaves the last good certificate in place, and
 *    a listener that never had one, or whose `root` is another now, closes its connections. No other stands in for it.
 * T3 What is open stays open. Tickets do not outlive a change: who came with one shows a certificate again.
 * T4 A handshake has HANDSHAKE_MS, and HANDSHAKES_MAX may be under way; what comes then is closed at once.
 * T5 A listener with `spiffe` serves while our SVID lasts, and who has shown one of our trust domain.
 * T6 A listener with `dynamicCa` has no certificate but those that are made for names (minted-certificates.ts): a handshake
 *    without a name fails.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { type Server, type TLSSocket, type TlsOptions, createServer } from 'node:tls';
import type { Logger } from '#host/telemetry/log.ts';
import type { Learn } from '#host/telemetry/secrets.ts';
import { secretsIn } from '#host/telemetry/secrets-in-files.ts';
import type { Listener, ListenerTls } from '#protocol/config/generation.ts';
import { compileListeners } from '#protocol/config/route-lookup.ts';
import { refusePeer } from '#host/spiffe/svid.ts';
import type { Svids } from '#host/spiffe/svids.ts';
import { type Admission, admissionOf, compileServerNames } from '../../core/admission.ts';
import { serverNameIn } from '../../core/client-hello.ts';
import type { HandshakeFailure, Minted } from '../../events.ts';
import { type Credentials, type CredentialsProblem, loadCredentials, loadSvid } from './credentials.ts';
import type { Secure, Speak } from '../edge/http-edge.ts';
import { MintedCertificates, type MintingSettings } from './minted-certificates.ts';

/** As the reference system's. */
const HANDSHAKE_MS = 15_000;
/** One costs about a millisecond of a core and some 50 KB. */
const HANDSHAKES_MAX = 1_000;
const TICKET_KEYS_BYTES = 48;
/** Others are not spoken: HTTP/2 is refused in the handshake. */
const ALPN = ['http/1.1'];

export interface TlsPortOptions {
  readonly log: Logger;
  readonly failed: (why: HandshakeFailure) => void;
  /** Absent = there are none here. */
  readonly svids?: Svids | undefined;
  /** Told of the private keys that are read. */
  readonly learn?: Learn | undefined;
  readonly handshakeMs?: number | undefined;
  readonly handshakesMax?: number | undefined;
  /** For listeners with `dynamicCa`. */
  readonly minting?: MintingSettings | undefined;
  readonly minted?: ((outcome: Minted) => void) | undefined;
}

interface Secured {
  /** Undefined = its files could never be used so far. */
  readonly server: Server | undefined;
  /** Of the files and settings in use; '' = of none. */
  readonly fingerprint: string;
  /** What was said last about its files. */
  readonly problem: string | undefined;
}

interface Handshake {
  readonly raw: Socket;
  readonly speak: Speak;
  why: HandshakeFailure;
}

export class TlsPort {
  readonly #options: TlsPortOptions;
  #listeners: readonly Listener[] = [];
  #secured: ReadonlyMap<Admission, Secured> = new Map();
  #choose: (serverName: string | undefined) => Listener | undefined = () => undefined;
  /** By the addresses at both ends, which tell an encrypted socket's connection. */
  readonly #handshakes = new Map<string, Handshake>();

  constructor(options: TlsPortOptions) {
    this.#options = options;
  }

  /** A listener at least has a certificate. */
  get usable(): boolean {
    return [...this.#secured.values()].some(({ server }) => server !== undefined);
  }

  get files(): string[] {
    return this.#listeners.flatMap(({ tls }) => (tls === undefined || tls.spiffe === true ? [] : [tls.cert, tls.key, ...(tls.root === undefined ? [] : [tls.root])]));
  }

  /** Never rejects. One turn at a time. */
  async follow(listeners: readonly Listener[]): Promise<void> {
    const secured = await Promise.all(
      listeners.map(async (listener) => {
        const admission = admissionOf(listener);
        return [admission, await this.#load(listener, admission, this.#secured.get(admission))] as const;
      }),
    );
    this.#listeners = listeners;
    this.#secured = new Map(secured);
    this.#choose = compileServerNames(listeners);
  }

  /** The files may have changed. */
  reload(): Promise<void> {
    return this.follow(this.#listeners);
  }

  readonly secure: Secure = (raw, speak) => {
    const { failed, handshakesMax = HANDSHAKES_MAX, handshakeMs = HANDSHAKE_MS } = this.#options;
    const key = endsOf(raw);
    if (this.#handshakes.size >= handshakesMax || this.#handshakes.has(key)) {
      failed('limit');
      raw.destroy();
      return;
    }
    const handshake: Handshake = { raw, speak, why: 'refused' };
    this.#handshakes.set(key, handshake);
    const fail = (why: HandshakeFailure): void => {
      handshake.why = why;
      raw.destroy();
    };
    const late = setTimeout(() => fail('timeout'), handshakeMs);
    raw.once('close', () => {
      clearTimeout(late);
      if (this.#handshakes.get(key) === handshake) {
        this.#handshakes.delete(key);
        failed(handshake.why);
      }
    });
    raw.on('error', () => undefined); // 'close' follows
    raw.allowHalfOpen = false;
    const greet = (serverName: string | undefined): void => {
      const listener = this.#choose(serverName);
      const server = listener === undefined ? undefined : this.#serverOf(listener);
      if (server === undefined) fail('unready');
      else server.emit('connection', raw);
    };
    if (this.#listeners.length > 1) readServerName(raw, greet);
    else greet(undefined);
  };

  #serverOf(listener: Listener): Server | undefined {
    if (listener.tls?.spiffe === true && this.#options.svids?.usable !== true) return undefined;
    return this.#secured.get(admissionOf(listener))?.server;
  }

  /** The connection is closed, and counted as refused. */
  #isForeign(socket: TLSSocket): boolean {
    const { svids } = this.#options;
    return svids?.usable !== true || refusePeer(socket.getPeerX509Certificate(), svids.current.trustDomain) !== undefined;
  }

  #secureConnection(socket: TLSSocket, admission: Admission, spiffe: boolean): void {
    if (spiffe && this.#isForeign(socket)) return void socket.destroy();
    const key = endsOf(socket);
    const handshake = this.#handshakes.get(key);
    if (handshake === undefined) return void socket.destroy();
    this.#handshakes.delete(key);
    handshake.speak(socket, handshake.raw, admission);
  }

  async #load(listener: Listener, admission: Admission, before: Secured | undefined): Promise<Secured> {
    const tls = listener.tls as ListenerTls;
    const { log, learn } = this.#options;
    const loaded = tls.spiffe === true ? await loadSvid(tls, this.#options.svids) : await loadCredentials(tls);
    if ('problem' in loaded) {
      const problem = saidOf(loaded.problem, tls);
      if (problem !== before?.problem) log.error({ listener: listener.name, file: loaded.problem.file }, `${problem}; ${before?.server === undefined || tls.spiffe === true ? 'this listener cannot serve until it is put right' : 'the last good certificate stays in use'}`);
      if (tls.spiffe === true) return { server: undefined, fingerprint: '', problem };
      return { server: before?.server, fingerprint: before?.fingerprint ?? '', problem };
    }
    const { credentials } = loaded;
    const key = credentials.authority?.key ?? String(credentials.options.key);
    if (tls.spiffe !== true) for (const secret of secretsIn(key)) learn?.(secret, 'kept');
    const fingerprint = createHash('sha256').update(JSON.stringify(credentials)).digest('hex');
    if (before?.server !== undefined && before.fingerprint === fingerprint) return { ...before, problem: undefined };
    const until = credentials.validTo.toISOString();
    if (credentials.validTo.getTime() < Date.now()) log.warn({ listener: listener.name, file: tls.cert, until }, 'the certificate has ended: clients will refuse it');
    else log.info({ listener: listener.name, file: tls.cert, until }, 'certificate in use');
    return { server: this.#create(listener, admission, credentials), fingerprint, problem: undefined };
  }

  #create(listener: Listener, admission: Admission, credentials: Credentials): Server {
    const { root, spiffe: bySpiffe } = listener.tls as ListenerTls;
    const spiffe = bySpiffe === true;
    const client = { requestCert: spiffe || root !== undefined, rejectUnauthorized: true };
    const server = createServer({ ...credentials.options, ...this.#minting(listener, credentials), ...client, ALPNProtocols: ALPN, ticketKeys: randomBytes(TICKET_KEYS_BYTES) });
    return server.on('secureConnection', (socket) => this.#secureConnection(socket, admission, spiffe));
  }

  #minting(listener: Listener, { options, authority }: Credentials): Pick<TlsOptions, 'SNICallback'> {
    if (authority === undefined) return {};
    const { minting, minted = () => undefined } = this.#options;
    const listenerOf = compileListeners([listener]);
    const certificates = new MintedCertificates({ ...minting, authority, options, minted, covers: (name) => listenerOf(name) !== undefined });
    return { SNICallback: (name, done) => void certificates.of(name).then((context) => done(null, context), done) };
  }
}

const saidOf = ({ key, file, message, hint }: CredentialsProblem, { at }: ListenerTls): string => `${at}.${key}: ${file}${file === '' ? '' : ' '}${message} (${hint})`;

const endsOf = ({ remoteAddress, remotePort, localAddress }: Socket): string => `${remoteAddress} ${remotePort} ${localAddress}`;

/** Reads what it needs and puts it back, for the handshake to read. */
function readServerName(raw: Socket, decided: (serverName: string | undefined) => void): void {
  let held: Buffer | undefined;
  const take = (chunk: Buffer): void => {
    held = held === undefined ? chunk : Buffer.concat([held, chunk]);
    const name = serverNameIn(held);
    if (name === null) return;
    raw.removeListener('data', take);
    raw.pause();
    raw.unshift(held);
    decided(name);
  };
  raw.on('data', take);
}
