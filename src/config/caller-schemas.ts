// Settings of callers: tokens, workloads, issuers, and who may do what.
import { z } from 'zod'
import { positive } from './numbers.ts'

const algorithm = z.enum(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'])

/** One of the three that tell how its tokens are verified is there. */
const issuerFields = {
  issuer: z.string().min(1).max(2_048),
  jwksUrl: z.url({ protocol: /^https?$/ }).optional(),
  jwksFile: z.string().min(1).optional(),
  introspection: z
    .strictObject({
      url: z.url({ protocol: /^https?$/ }),
      clientId: z.string().min(1).max(512),
      keyFile: z.string().min(1).optional(),
      keyAlgorithm: algorithm.default('ES256'),
      keyId: z.string().min(1).max(256).optional(),
      audience: z.string().min(1).max(2_048).optional(),
      tls: z
        .strictObject({ caFile: z.string().min(1), certFile: z.string().min(1), keyFile: z.string().min(1) })
        .partial()
        .refine(({ certFile, keyFile }) => (certFile === undefined) === (keyFile === undefined), 'both `certFile` and `keyFile`, or none')
        .optional(),
      cacheMs: z.int().min(0).max(300_000).default(10_000),
    })
    .refine(
      ({ keyFile, tls }) => keyFile !== undefined || tls?.certFile !== undefined,
      'the service says who it is by `keyFile` or by `tls`',
    )
    .optional(),
  algorithms: z.array(algorithm).min(1).default(['RS256', 'PS256', 'ES256', 'EdDSA']),
  types: z.array(z.string().min(1)).min(1).default(['at+jwt']),
  requiredClaims: z.array(z.string().min(1)).optional(),
  maxLifetimeMs: positive.default(3_600_000),
  clockSkewMs: z.int().min(0).max(60_000).default(30_000),
  oneTime: z.boolean().default(false),
  refreshMs: positive.min(1_000).default(300_000),
  cooldownMs: positive.min(100).default(500),
  maxStaleMs: positive.default(3_600_000),
  timeoutMs: positive.default(5_000),
}
const hasOneSource = ({ jwksUrl, jwksFile, introspection }: { jwksUrl?: unknown; jwksFile?: unknown; introspection?: unknown }) =>
  [jwksUrl, jwksFile, introspection].filter((one) => one !== undefined).length === 1
const oneSource = { message: 'one of `jwksUrl`, `jwksFile` and `introspection`' }
const audience = z.string().min(1).max(512)

const subjectsSchema = z
  .strictObject({
    audiences: z
      .array(audience)
      .default([])
      .describe('Names in `aud` of tokens of subjects. A token must be for one of them and for nobody else; none may be this service.'),
    issuers: z
      .array(
        z
          .strictObject({
            ...issuerFields,
            claims: z
              .record(z.string().min(1).max(128), z.string().regex(/^(?:\/(?:[^~/]|~[01])*)+$/, 'a JSON pointer'))
              .default({ iss: '/iss', sub: '/sub', client_id: '/client_id', scope: '/scope' }),
          })
          .refine(hasOneSource, oneSource),
      )
      .default([])
      .describe(
        'Issuers of tokens of subjects, as `authentication.issuers`, and `claims`: names under `input.trusted.token`, each with the JSON pointer of a claim. What a token is bound to is there as `cnf`.',
      ),
    mayDiffer: z
      .boolean()
      .default(false)
      .describe('Whether a question may name another `subject.id` than the subject of the token that comes with it.'),
  })
  .prefault({})

const dpopSchema = z
  .strictObject({
    enabled: z
      .boolean()
      .default(false)
      .describe('Whether callers may bring access tokens that are bound to a key, with a proof for each request (RFC 9449).'),
    nonces: z.boolean().default(true).describe('Whether a proof needs a nonce of this service, so that none can be made ahead.'),
    algorithms: z.array(algorithm).min(1).default(['ES256', 'EdDSA', 'PS256', 'RS256']).describe('Of proofs.'),
    maxAgeMs: positive
      .min(1_000)
      .max(600_000)
      .default(60_000)
      .describe('Of a proof, by its `iat`; also how long a nonce is good at least.'),
    clockSkewMs: z.int().min(0).max(60_000).default(5_000).describe('How far the clocks of clients may be off.'),
    urls: z
      .array(z.url({ protocol: /^https?$/ }).regex(/[^/]$/, 'no slash at the end'))
      .default([])
      .describe(
        'Where clients reach this service, as `htu` of a proof says it before the path. Default: the host of the request, if it is served here.',
      ),
  })
  .prefault({})

export const authenticationSchema = z
  .strictObject({
    decideTokenFile: z
      .string()
      .min(1)
      .optional()
      .describe('File with the bearer token that callers of the decide scope must send; read again when it changes.'),
    callers: z
      .array(
        z
          .strictObject({
            id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9:._/@-]{0,127}$/, 'letters, digits and `:._/@-`'),
            tokenFile: z.string().min(1),
            spiffeId: z.string().min(1),
            issuer: z.string().min(1),
            subject: z.string().min(1),
            clientId: z.string().min(1),
            scope: z.string().min(1),
            roles: z.array(z.enum(['decide', 'pull', 'push', 'patch', 'approve', 'operate', 'audit', 'revoke', 'quarantine'])).min(1),
          })
          .partial({ id: true, tokenFile: true, spiffeId: true, issuer: true, subject: true, clientId: true, scope: true })
          .refine(
            ({ tokenFile, spiffeId, id, issuer, subject, clientId, scope }) =>
              [tokenFile, spiffeId, issuer].filter((one) => one !== undefined).length === 1 &&
              (tokenFile === undefined) === (id === undefined) &&
              (issuer !== undefined || (subject ?? clientId ?? scope) === undefined),
            {
              message: 'one of `id` with `tokenFile`, `spiffeId`, or `issuer` with perhaps `subject`, `clientId`, `scope`',
            },
          ),
      )
      .default([])
      .describe(
        'Who may call beside the local administrator: a token (`id`, `tokenFile`) or workloads (`spiffeId`, with `*` for a segment, `**` for all that follow), and `roles` of `decide`, `pull`, `push`, `patch`, `approve`, `operate`, `audit`, `revoke`, `quarantine`.',
      ),
    policy: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}(?::[^\s:]{1,512})?$/, '`bundle` or `bundle:entry/point`')
      .optional()
      .describe(
        'Policy that gives roles beside `callers`, `bundle` or `bundle:entry/point`: asked with `{"caller": {"id", "spiffe_id"}, "role"}`, its answer remembered for a second.',
      ),
    dpop: dpopSchema,
    releaseByAnother: z.boolean().default(false).describe('Whether a quarantine is released by somebody else than who began it.'),
    audiences: z
      .array(audience)
      .default([])
      .describe('Names of this service in `aud` of tokens that callers bring. A token must be for one of them and for nobody else.'),
    issuers: z
      .array(z.strictObject(issuerFields).refine(hasOneSource, oneSource))
      .default([])
      .describe(
        'Issuers of access tokens (RFC 9068) that callers bring: `issuer` exactly as `iss` says it, its keys by `jwksUrl` or `jwksFile`, or `introspection` (RFC 7662) for tokens that only the issuer can read: `url`, `clientId`, `keyFile` (private key in PEM, with `keyAlgorithm`, `keyId` and the `audience` of assertions) or `tls` (`certFile`, `keyFile`, `caFile`), `cacheMs` for which an answer is believed at most; `algorithms`, `types`, `requiredClaims` (beside `exp` and `aud`; those of RFC 9068, `sub` behind an introspection), `maxLifetimeMs`, `clockSkewMs`; `oneTime` where each token counts once, over restarts; for a URL `refreshMs`, `cooldownMs` between fetches for unknown keys, `maxStaleMs` for which the last good keys count, `timeoutMs`.',
      ),
    subjects: subjectsSchema,
    trustDomains: z
      .array(
        z.strictObject({
          name: z.string().regex(/^[a-z0-9._-]{1,255}$/, 'a trust domain in lower case'),
          bundleFile: z.string().min(1).optional(),
          crlFile: z.string().min(1).optional(),
          jwksFile: z.string().min(1).optional(),
        }),
      )
      .default([])
      .describe(
        'Trust domains of SPIFFE whose workloads are believed: `name`, `bundleFile` with its authorities and perhaps `crlFile` with their revocation lists, in PEM, `jwksFile` with keys of JWT-SVIDs (JSON), read again when they change. Without `bundleFile` they come from `server.tls.workloadApi`.',
      ),
  })
  .prefault({})
