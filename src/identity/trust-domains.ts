// The trust domains of the configuration: their authorities and revocation lists, read again when the files change. What cannot be
// read leaves what was there; a file without a certificate is read, and says that nobody is believed.
import { X509Certificate } from 'node:crypto'
import { checkStrictJson } from '../decision/strict-json.ts'
import { PdpError } from '../errors.ts'
import { readKeySet, readText } from './files.ts'
import type { KeySet } from './key-set.ts'
import { parseRevocationLists } from './x509.ts'
import { type Svid, type TrustBundle, verifySvid } from './x509-svid.ts'

export interface TrustDomainFiles {
  readonly name: string
  /** Authorities in PEM, or a SPIFFE bundle in JSON; undefined: they come from elsewhere. */
  readonly bundleFile?: string | undefined
  /** Revocation lists in PEM. */
  readonly crlFile?: string | undefined
  /** Keys of JWT-SVIDs, a JSON Web Key Set. */
  readonly jwksFile?: string | undefined
}

const maxRemembered = 10_000

const bundleLimits = { maxDepth: 16, maxMembers: 10_000, forbidPrototypeKeys: true }

export class TrustDomains {
  readonly #files: readonly TrustDomainFiles[]
  /** Of domains with a file. */
  #fromFiles: ReadonlyMap<string, TrustBundle>
  /** Of domains without one. */
  #others: ReadonlyMap<string, TrustBundle> = new Map()
  /** Of all domains that are believed. */
  #bundles: ReadonlyMap<string, TrustBundle> = new Map()
  #keys: ReadonlyMap<string, KeySet>
  /** Chains that were found good, until something changes: many connections share one. */
  #known = new Map<string, Svid>()

  /** @throws PdpError ERR_CONFIG_INVALID */
  constructor(files: readonly TrustDomainFiles[]) {
    this.#files = files
    this.#fromFiles = readBundles(files)
    this.#keys = readKeys(files)
    this.#merge()
  }

  get paths(): string[] {
    return this.#files.flatMap(({ bundleFile, crlFile, jwksFile }) => [bundleFile, crlFile, jwksFile].filter((path) => path !== undefined))
  }

  /** All authorities in PEM, for TLS, which does not know of domains. */
  get authorities(): string[] {
    return [...this.#bundles.values()].flatMap(({ authorities }) => authorities.map(String))
  }

  /** When the last authority of each domain expires, of those that have any. Milliseconds since 1970 */
  expiries(): readonly (readonly [trustDomain: string, ms: number])[] {
    return [...this.#bundles]
      .filter(([, { authorities }]) => authorities.length > 0)
      .map(([name, { authorities }]) => [name, Math.max(...authorities.map(({ validTo }) => Date.parse(validTo)))])
  }

  /** @throws PdpError ERR_CONFIG_INVALID; what was read before stays */
  reload(): void {
    const keys = readKeys(this.#files)
    for (const [name, set] of keys) {
      // An older set would bring back keys that were withdrawn.
      if ((set.sequence ?? 0) < (this.#keys.get(name)?.sequence ?? 0))
        throw new PdpError('ERR_CONFIG_INVALID', `authentication.trustDomains.${name}: its keys have a sequence number that went back`)
    }
    this.#fromFiles = readBundles(this.#files)
    this.#keys = keys
    this.#merge()
  }

  /** Of JWT-SVIDs. @returns undefined where nothing is known of the domain */
  keysOf(trustDomain: string): KeySet | undefined {
    return this.#keys.get(trustDomain)
  }

  /** @param bundles all that there are, for domains without a file */
  setOthers(bundles: ReadonlyMap<string, TrustBundle>): void {
    this.#others = bundles
    this.#merge()
  }

  #merge(): void {
    const nobody: TrustBundle = { authorities: [], lists: undefined }
    this.#bundles = new Map(this.#files.map(({ name }) => [name, this.#fromFiles.get(name) ?? this.#others.get(name) ?? nobody]))
    this.#known = new Map()
  }

  /**
   * @param chain as the peer sent it, its own certificate first
   * @throws PdpError ERR_CERTIFICATE_REFUSED
   */
  verify(chain: readonly X509Certificate[], nowMs: number): Svid {
    const key = chain.map(({ fingerprint256 }) => fingerprint256).join()
    const known = this.#known.get(key)
    if (known !== undefined && nowMs < known.validUntilMs) return known
    const svid = verifySvid(chain, this.#bundles, nowMs)
    if (this.#known.size >= maxRemembered) this.#known.clear()
    this.#known.set(key, svid)
    return svid
  }
}

function readBundles(files: readonly TrustDomainFiles[]): ReadonlyMap<string, TrustBundle> {
  return new Map(
    files.flatMap(({ name, bundleFile, crlFile }) => {
      if (bundleFile === undefined) return []
      const where = `authentication.trustDomains.${name}`
      const lists = crlFile === undefined ? undefined : parseRevocationLists(readText(crlFile, where), `${where}: \`${crlFile}\``)
      return [[name, { authorities: parseAuthorities(readText(bundleFile, where), `${where}: \`${bundleFile}\``), lists }] as const]
    }),
  )
}

function readKeys(files: readonly TrustDomainFiles[]): ReadonlyMap<string, KeySet> {
  return new Map(
    files.flatMap(({ name, jwksFile }) =>
      jwksFile === undefined ? [] : [[name, readKeySet(jwksFile, 'jwt-svid', `authentication.trustDomains.${name}`)] as const],
    ),
  )
}

/** @throws PdpError ERR_CONFIG_INVALID for what is no certificate in PEM, half a file among it */
function parseAuthorities(text: string, where: string): X509Certificate[] {
  if (text.trimStart().startsWith('{')) return authoritiesOfBundle(text, where)
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g) ?? []
  const begun = text.match(/-----BEGIN/g) ?? []
  if (begun.length !== blocks.length)
    throw new PdpError('ERR_CONFIG_INVALID', `${where} is not whole, or holds something else than certificates`)
  return blocks.map((block) => {
    try {
      return authorityOf(block)
    } catch (cause) {
      throw new PdpError('ERR_CONFIG_INVALID', `${where}: ${(cause as Error).message}`, { cause })
    }
  })
}

/** @throws Error for what is no certificate of an authority */
function authorityOf(certificate: string | Buffer): X509Certificate {
  const read = new X509Certificate(certificate)
  if (!read.ca) throw new RangeError('a certificate in it is not of an authority')
  return read
}

/**
 * Of the keys of a SPIFFE bundle those for X.509: the first certificate of each; keys without one, and of other or no use, say nothing.
 * @see https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Trust_Domain_and_Bundle.md
 */
function authoritiesOfBundle(text: string, where: string): X509Certificate[] {
  try {
    checkStrictJson(text, bundleLimits)
    const { keys } = JSON.parse(text) as { readonly keys?: unknown }
    if (!Array.isArray(keys)) throw new RangeError('it must have a list `keys`')
    return keys.flatMap(({ use, x5c }: { readonly use?: unknown; readonly x5c?: unknown }) => {
      const first: unknown = Array.isArray(x5c) ? x5c[0] : undefined
      return use === 'x509-svid' && typeof first === 'string' ? [authorityOf(Buffer.from(first, 'base64'))] : []
    })
  } catch (cause) {
    throw new PdpError('ERR_CONFIG_INVALID', `${where}: ${(cause as Error).message}`, { cause })
  }
}
