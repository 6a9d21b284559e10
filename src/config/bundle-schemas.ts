// Settings of bundles: where they come from, who may sign and approve them, what they have to pass.
import { z } from 'zod'
import { positive } from './numbers.ts'

/** What a bundle can be called. */
export const bundleName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, 'letters, digits, `_` and `-`, at most 64')

const gateSchema = z.strictObject({
  minCoverage: z.number().min(0).max(100).default(0).describe('Percent of lines that the tests in the bundle must cover.'),
  replay: z.int().min(0).max(100_000).default(1_000).describe('Newest recorded decisions that a candidate is asked again; 0: none.'),
  maxFlips: z.int().min(0).default(0).describe('Recorded decisions that may change without approval.'),
  timeoutMs: positive.default(60_000).describe('Longest time for loading and asking a candidate. Milliseconds.'),
})

const signatureSchema = z.strictObject({
  required: z.boolean().default(false).describe('Whether unsigned bundles are refused. What is signed is verified in any case.'),
  keys: z.array(z.string().min(1)).optional().describe('IDs of the keys that count; default: all of `keys`.'),
  scope: z.string().min(1).optional().describe('Scope that the signature must have.'),
  requireExpiry: z.boolean().default(false).describe('Whether the signed part must say when it expires.'),
  requireSequence: z.boolean().default(false).describe('Whether the signed part must have a sequence number, which only goes up.'),
  threshold: z
    .int()
    .min(1)
    .max(16)
    .default(1)
    .describe('Different keys that must have signed, in the archive or by envelopes, where more than one is wanted.'),
  expiryGraceMs: z
    .int()
    .min(0)
    .default(86_400_000)
    .describe('How long what is active goes on answering behind the expiry of its signature; then it denies. Milliseconds.'),
})

const pullSchema = z.strictObject({
  url: z.url({ protocol: /^https?$/ }).describe('Where a server has the bundle.'),
  tokenFile: z.string().min(1).optional().describe('File with the bearer token for the server.'),
  tls: z
    .strictObject({ caFile: z.string().min(1), certFile: z.string().min(1), keyFile: z.string().min(1) })
    .partial()
    .optional()
    .describe(
      'Files in PEM for an https server, read for each request: `caFile` of its authorities, `certFile` and `keyFile` of this service.',
    ),
  minDelayMs: positive.default(10_000).describe('Between two requests. Milliseconds.'),
  maxDelayMs: positive.default(300_000).describe('Between two requests behind failures. Milliseconds.'),
  timeoutMs: positive.default(30_000).describe('Longest time for a whole download. Milliseconds.'),
  longPollMs: z.int().min(0).max(600_000).default(0).describe('How long a server may hold a request that has nothing new; 0: not asked.'),
})

export const keySchema = z.strictObject({
  id: z.string().regex(/^[\x21-\x7e]{1,128}$/),
  algorithm: z.enum(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'HS256', 'HS384', 'HS512']),
  file: z.string().min(1),
})

export const bundleSchema = z.strictObject({
  name: bundleName.default('main').describe('Name of the bundle.'),
  path: z
    .string()
    .min(1)
    .optional()
    .describe('A bundle (`.tar.gz`), or a folder of Rego and data. Absent: the bundle is pushed or pulled.'),
  pull: pullSchema.optional().describe("A server that has the bundle, by OPA's protocol."),
  defaultEntrypoint: z.string().min(1).optional().describe('Entrypoint of requests that name none.'),
  approvals: z.int().min(0).max(16).default(0).describe('Approvals that every revision needs, of others than who pushed it.'),
  activation: z
    .enum(['auto', 'manual'])
    .default('auto')
    .describe('Whether a revision answers as soon as it may, or when somebody says so.'),
  dataApprovals: z
    .array(
      z.strictObject({
        root: z.string().regex(/^[^/]+(?:\/[^/]+)*$/, 'a path such as `rbac/grants`'),
        approvals: z.int().min(1).max(16).default(1),
      }),
    )
    .default([])
    .describe('Approvals that a revision needs where it changes the data below a `root`.'),
  gate: gateSchema.prefault({}),
  signature: signatureSchema.prefault({}),
})
