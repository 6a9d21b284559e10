// Settings of the service itself: listeners, requests, evaluation, gateways, AuthZEN, the decision log.
import { z } from 'zod'
import { positive } from './numbers.ts'

const jsonPointer = z.string().regex(/^(?:\/(?:[^~/]|~0|~1)*)+$/, 'a JSON pointer such as `/input/context/password`')

const networkEntry =
  /^(?:(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|[0-9a-fA-F:]+|\[[0-9a-fA-F:.]+\]|[0-9a-fA-F.:]+\/\d{1,3})(?::\d{1,5})?$/

export const serverSchema = z.strictObject({
  host: z.string().min(1).default('127.0.0.1').describe('Address to listen on. Beyond loopback only with `authentication`.'),
  tls: z
    .strictObject({
      certFile: z.string().min(1).optional(),
      keyFile: z.string().min(1).optional(),
      workloadApi: z.string().min(1).optional(),
      minVersion: z.enum(['TLSv1.2', 'TLSv1.3']).default('TLSv1.3'),
      clientCertificates: z.enum(['none', 'optional', 'required']).optional(),
    })
    .refine(
      ({ certFile, keyFile, workloadApi }) =>
        (certFile === undefined) === (keyFile === undefined) && (certFile === undefined) !== (workloadApi === undefined),
      {
        message: 'either `certFile` and `keyFile`, or `workloadApi`',
      },
    )
    .optional()
    .describe(
      'TLS on both ports: `certFile` and `keyFile` in PEM, read again when they change, or `workloadApi`, the socket of a SPIFFE agent; `minVersion` (`TLSv1.3`, or `TLSv1.2`); `clientCertificates` `none`, `optional` or `required` (the default where `authentication.trustDomains` are). Absent: clear text.',
    ),
  port: z.int().min(0).max(65_535).default(8181).describe('HTTP port; 0 takes a free one.'),
  grpcPort: z.int().min(0).max(65_535).default(9191).describe('gRPC port; 0 takes a free one.'),
  hosts: z
    .array(z.string().min(1))
    .default([])
    .describe('Further values of the `Host` header that are answered, without port. Loopback names and `server.host` always are.'),
  maxBodyBytes: positive
    .max(64 * 2 ** 20)
    .default(2 ** 20)
    .describe('Largest request body, before and after decompression. Bytes.'),
  maxBundleBytes: positive
    .max(2 ** 30)
    .default(64 * 2 ** 20)
    .describe('Largest archive that can be pushed. Bytes.'),
  requestTimeoutMs: positive.default(10_000).describe('Longest time for a request to arrive whole. Milliseconds.'),
  drainTimeoutMs: z.int().min(0).default(10_000).describe('Longest time that running requests get after SIGTERM. Milliseconds.'),
})

export const requestsSchema = z.strictObject({
  maxDepth: positive.max(1_000).default(64).describe('Deepest nesting of a body.'),
  maxMembers: positive.default(50_000).describe('Members and elements of a body, all together.'),
  maxBatchSize: positive.max(10_000).default(1_000).describe('Most evaluations in one request.'),
  identifiers: z
    .enum(['ascii', 'unicode'])
    .default('ascii')
    .describe(
      'Characters of types, IDs and names: printable ASCII, or any Unicode text in NFC without control, format, private and unassigned characters.',
    ),
})

export const evaluationSchema = z.strictObject({
  maxSteps: positive.max(2_147_483_646).default(10_000_000).describe('Steps of one evaluation: turns of loops and calls of functions.'),
  callerStepsPerSecond: positive
    .max(1_000_000_000)
    .default(50_000_000)
    .describe(
      'Steps that one caller may use in a second, all its evaluations together; beyond, it is answered as overloaded. Callers are told apart by identity, else by address; without either, on the same machine, they have no such bound.',
    ),
  maxMemoryBytes: positive
    .min(2 ** 20)
    .max(2 ** 32)
    .default(64 * 2 ** 20)
    .describe('Memory of one evaluation beside the data of its bundle. Bytes.'),
  network: z
    .strictObject({
      allow: z
        .array(z.string().regex(networkEntry, 'a host name, `*.` and a domain, an address or a network such as `10.1.0.0/16`'))
        .default([])
        .describe(
          'Hosts that policies may reach with `http.send` and `net.lookup_ip_addr`: names, `*.` and a domain, addresses, networks; names and addresses may have `:port`. Names that lead to addresses of this machine or of private networks are refused unless these are listed too. Empty: none.',
        ),
      timeoutMs: positive.max(60_000).default(5_000).describe('Longest time for one request of a policy. Milliseconds.'),
      maxResponseBytes: positive
        .max(64 * 2 ** 20)
        .default(2 ** 20)
        .describe('Largest answer to a request of a policy. Bytes.'),
      threads: positive
        .max(64)
        .default(2)
        .describe('Threads that evaluate policies which use the network; each waits for one answer at a time.'),
    })
    .prefault({}),
  trustedKey: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/)
    .default('trusted')
    .describe('Key of `input` under which policies find what the service established itself.'),
})

export const cacheSchema = z.strictObject({
  enabled: z.boolean().default(true).describe('Whether decisions are given again while nothing that they rest on has changed.'),
  maxBytes: positive
    .min(1_048_576)
    .default(67_108_864)
    .describe('Size of what is kept, all callers together. When there is no room, the caller with most gives way.'),
  maxAgeMs: positive
    .max(86_400_000)
    .default(60_000)
    .describe(
      'Longest time for any decision, here and at whoever gets it. Annotations (`custom.cache.max_age_ms`), `cache.max_age_ms` of a decision and tokens make it shorter.',
    ),
})

export const gatewaysSchema = z.strictObject({
  policy: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}(?::[^\s:]{1,512})?$/, '`bundle` or `bundle:entry/point`')
    .optional()
    .describe(
      'Policy that ext_authz and the forward-auth routes ask, `bundle` or `bundle:entry/point`. Default: `envoy/authz/allow` where the bundle has it, as for opa-envoy-plugin, else its default entrypoint.',
    ),
  trustedProxies: z
    .array(z.string().regex(/^[0-9a-fA-F:.]+(?:\/\d{1,3})?$/, 'an address or a network such as `10.1.0.0/16`'))
    .default(['127.0.0.0/8', '::1'])
    .describe(
      'Addresses and networks of gateways whose `X-Forwarded-…` and `X-Original-…` fields are believed. Requests of others are denied at the forward-auth routes.',
    ),
  truncatedBodies: z
    .enum(['deny', 'pass'])
    .default('deny')
    .describe('What to do where a gateway sent a part of a body only: deny, or ask the policy without `parsed_body`.'),
  cacheControl: z
    .string()
    .regex(/^[\x20-\x7e]{1,256}$/)
    .default('no-store')
    .describe('`Cache-Control` of answers at the forward-auth routes, for gateways that keep them.'),
})

export const authzenSchema = z.strictObject({
  publicUrl: z
    .string()
    .regex(/^https:\/\/[A-Za-z0-9._[\]:-]+$/, 'https, a host and perhaps a port, nothing behind')
    .optional()
    .describe('Where clients of AuthZEN reach this service, for its metadata. Default: https and the Host of the request.'),
  metadataKeyFile: z
    .string()
    .min(1)
    .optional()
    .describe('Private key in PEM (Ed25519, P-256, P-384, RSA) that signs the metadata. Default: they are not signed.'),
})

const sinkName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'small letters, digits and `-`, at most 32')
const sinkTls = z
  .strictObject({ caFile: z.string().min(1), certFile: z.string().min(1), keyFile: z.string().min(1) })
  .partial()
  .optional()

const sinkSchema = z
  .strictObject({
    name: sinkName,
    type: z.enum(['stdout', 'http', 'opa', 'otlp', 'syslog']),
    url: z.url({ protocol: /^(?:https?|tcp|tls)$/ }).optional(),
    tokenFile: z.string().min(1).optional(),
    tls: sinkTls,
  })
  .refine(({ type, url }) => (type === 'stdout') === (url === undefined), { message: '`url` is for all but `stdout`' })
  .refine(({ type, url = '' }) => type === 'stdout' || /^(?:tcp|tls):/.test(url) === (type === 'syslog'), {
    message: '`tcp:` or `tls:` is for `syslog`, http or https for the others',
  })

const checkpointSinkSchema = z
  .strictObject({
    name: sinkName,
    url: z.url({ protocol: /^https?$/ }).optional(),
    file: z.string().min(1).optional(),
    tokenFile: z.string().min(1).optional(),
    tls: sinkTls,
    intervalMs: positive.max(86_400_000).default(60_000),
  })
  .refine(({ url, file }) => (url === undefined) !== (file === undefined), { message: 'either `url` or `file`' })

export const decisionLogSchema = z.strictObject({
  folder: z.string().min(1).optional().describe('Folder of the records. Default: `decisions` in the state folder.'),
  guarantee: z
    .enum(['strict', 'durable', 'fast'])
    .default('durable')
    .describe(
      'When a record is on the disk: `strict`, before its answer leaves; `durable`, as soon as `flushIntervalMs` and one sync allow; `fast`, with each checkpoint. In any case nothing is answered while records cannot be written.',
    ),
  origin: z
    .string()
    .regex(/^[^\s+]{1,128}$/, 'no spaces and no `+`')
    .optional()
    .describe(
      'Name of the log in its checkpoints, the same for as long as the log lives; best under a domain of yours. Default: `verdict/` and the shard.',
    ),
  signingKeyFiles: z
    .array(z.string().min(1))
    .default([])
    .describe(
      'Private keys in PEM (Ed25519) that sign the checkpoints, all of them: a new one is added beside the old one before that is taken away. Default: one that the state folder keeps.',
    ),
  checkpointIntervalMs: positive.max(600_000).default(1_000).describe('Longest time until a checkpoint covers a record. Milliseconds.'),
  maxFileBytes: positive.default(128 * 2 ** 20).describe('Size at which a new file begins. Bytes.'),
  maxFileAgeMs: positive.default(86_400_000).describe('Age at which a new file begins. Milliseconds.'),
  flushIntervalMs: positive.max(10_000).default(50).describe('Longest time that a record waits in memory. Milliseconds.'),
  maxPendingBytes: positive.default(64 * 2 ** 20).describe('Records in memory beyond which nothing is answered. Bytes.'),
  pseudonyms: z
    .strictObject({ keyFile: z.string().min(1), pointers: z.array(jsonPointer).min(1) })
    .optional()
    .describe(
      'Values that stay joinable and are not readable: `pointers` into the record become `hmac-sha256:…` under the secret in `keyFile` (32 bytes at least).',
    ),
  encryption: z
    .strictObject({
      pointers: z.array(jsonPointer).min(1),
      recipients: z.array(z.strictObject({ id: z.string().regex(/^[\x21-\x7e]{1,128}$/), file: z.string().min(1) })).min(1),
      rotateMs: positive.min(1_000).default(86_400_000),
      keepMs: positive.optional(),
    })
    .optional()
    .describe(
      'Values that only `recipients` read (`id`, and `file` with a public key in PEM: RSA, P-256, P-384, P-521, X25519): each becomes a JWE under a data key, replaced after `rotateMs` (a day), which lies wrapped in `keys` beside the log. With `keepMs` a data key is destroyed so long after its last use, and with it what it encrypted.',
    ),
  sinks: z
    .array(sinkSchema)
    .default([])
    .describe(
      'Where records go beside the log, each at least once and never before they are written: `name`, `type` (`stdout`; `http`, lines of JSON; `opa`, OPA’s protocol for decision logs; `otlp`; `syslog`, RFC 5424), `url` (`tcp:` or `tls:` for syslog), `tokenFile`, `tls` with `caFile`, `certFile`, `keyFile`.',
    ),
  checkpointSinks: z
    .array(checkpointSinkSchema)
    .default([])
    .describe(
      'Where signed checkpoints are kept beside the log, since only who has an earlier one finds that a log was rolled back or rewritten by somebody with its key: `name`, `url` (each is posted as text) or `file` (each is added at its end), `intervalMs` at least between two (a minute), `tokenFile`, `tls`.',
    ),
  retention: z
    .strictObject({ maxAgeMs: positive.min(1_000).optional(), maxBytes: positive.min(1_048_576).optional() })
    .optional()
    .describe(
      'How long records are kept: whole files whose records are all older than `maxAgeMs`, or the oldest while there are more than `maxBytes`, are removed, once the sinks have them. The hashes of their entries stay, and a record says what was removed. Default: everything is kept.',
    ),
  maxInputBytes: positive.default(256 * 2 ** 10).describe('Inputs larger than this are recorded by their hash. Bytes.'),
  mask: z
    .array(jsonPointer)
    .default(['authorization', 'proxy-authorization', 'cookie'].map((name) => `/input/attributes/request/http/headers/${name}`))
    .describe(
      "JSON pointers into the record whose values become null; `*` stands for every member. Default: credentials in the requests that Envoy's question and those of forward auth carry.",
    ),
  shard: z.string().min(1).max(64).default('0').describe('Name of this service in records that several services write to one place.'),
})

export const telemetrySchema = z.strictObject({
  otlpUrl: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe(
      'A collector that takes OTLP over HTTP, without a path: metrics at an interval, and a span for each decision whose caller samples its trace. Default: none; `GET /metrics` is there in any case.',
    ),
  otlpHeaderFile: z.string().min(1).optional().describe('File with the value of `Authorization` for the collector, such as `Bearer …`.'),
  intervalMs: positive.min(1_000).max(3_600_000).default(15_000).describe('Between two exports of metrics. Milliseconds.'),
})
