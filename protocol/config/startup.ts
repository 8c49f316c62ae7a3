/** The `config:` section: settings of the process rather than of the traffic. Everything is typed; see NOT_ACTED_ON for what is acted on. */
import { z } from 'zod';
import { Secret } from './secret.ts';
import { isSpiffeEndpoint } from './spiffe-endpoint.ts';
import { count, duration, flag, text, textMap } from './section.ts';

const database = z.strictObject({ url: text, maxConnections: count.min(1, 'expected 1 or more').nullish() });
const fields = z.strictObject({ remove: z.array(text).nullish(), add: textMap.nullish() });
const amount = z.union([text, flag, z.number()], { error: 'expected an expression, true, false, or a number from 0 to 1' });

const keepalives = z.strictObject({ enabled: flag.nullish(), time: duration.nullish(), interval: duration.nullish(), retries: count.nullish() });

const logging = z.strictObject({
  filter: text.nullish(),
  fields: fields.nullish(),
  level: z.union([text, z.array(text)], { error: 'expected a level such as info, or a list of levels' }).nullish(),
  format: z.enum(['text', 'json']).nullish(),
  database: database.nullish(),
});

const tracing = z.strictObject({
  otlpEndpoint: text.nullish(),
  headers: textMap.nullish(),
  otlpProtocol: z.enum(['grpc', 'http']).nullish(),
  fields: fields.nullish(),
  randomSampling: amount.nullish(),
  clientSampling: amount.nullish(),
  path: text.nullish(),
});

const backend = z.strictObject({
  keepalives: keepalives.nullish(),
  connectTimeout: duration.nullish(),
  poolIdleTimeout: duration.nullish(),
  poolMaxSize: count.nullish(),
});

const hbone = z.strictObject({
  windowSize: count.nullish(),
  connectionWindowSize: count.nullish(),
  frameSize: count.nullish(),
  poolMaxStreamsPerConn: count.nullish(),
  poolUnusedReleaseTimeout: duration.nullish(),
});

const modelCatalog = z.array(
  z.strictObject({ file: text.nullish(), inline: z.union([text, z.record(z.string(), z.unknown())], { error: 'expected a text or a map' }).nullish() }),
);

const spiffeEndpoint = text.refine(isSpiffeEndpoint, 'expected unix:///path/of/agent.sock or tcp://address:port');

export const startupSchema = z.strictObject({
  enableIpv6: flag.nullish(),
  dns: z.strictObject({ lookupFamily: z.enum(['All', 'Auto', 'V4Preferred', 'V4Only', 'V6Only']).nullish(), edns0: flag.nullish() }).nullish(),
  localXdsPath: text.nullish(),
  modelCatalog: modelCatalog.nullish(),
  database: database.nullish(),
  storage: z.strictObject({ mode: z.enum(['file', 'hybrid', 'readOnly']).nullish() }).nullish(),
  caAddress: text.nullish(),
  caAuthToken: text.nullish(),
  xdsAddress: text.nullish(),
  xdsAuthToken: text.nullish(),
  spiffe: z.strictObject({ endpoint: spiffeEndpoint.nullish() }).nullish(),
  namespace: text.nullish(),
  gateway: text.nullish(),
  trustDomain: text.nullish(),
  additionalTrustDomains: text.nullish(),
  skipValidateTrustDomain: flag.nullish(),
  serviceAccount: text.nullish(),
  clusterId: text.nullish(),
  network: text.nullish(),
  adminAddr: text.nullish(),
  standardAttributes: z.strictObject({ user: text.nullish(), group: text.nullish() }).nullish(),
  statsAddr: text.nullish(),
  histograms: z.enum(['classic', 'native', 'both']).nullish(),
  readinessAddr: text.nullish(),
  session: z.strictObject({ key: z.string().regex(/^[0-9a-fA-F]{64}$/, 'expected 64 hex digits, as of "openssl rand -hex 32"').transform((key) => new Secret(key)) }).nullish(),
  mcp: z.strictObject({ sessionTtl: duration.nullish() }).nullish(),
  sensitiveHeaders: z.array(text).nullish(),
  customFunctions: text.nullish(),
  connectionTerminationDeadline: duration.nullish(),
  connectionMinTerminationDeadline: duration.nullish(),
  workerThreads: z.union([text, count], { error: 'expected a number of threads, or a text such as "auto"' }).nullish(),
  tracing: tracing.nullish(),
  logging: logging.nullish(),
  metrics: z.strictObject({ remove: z.array(text).nullish(), fields: z.strictObject({ add: textMap.nullish() }).nullish() }).nullish(),
  backend: backend.nullish(),
  hbone: hbone.nullish(),
});
