// Tokens that only their issuer can read: it is asked about each, and its answer is remembered for a short while, since it may take
// the token back without telling. Not what of an answer is believed: that is checked like the claims of any token.
// @see RFC 7662; RFC 7523 §2.2 and RFC 8705 §2 for how the service says who it is
import { createHash, createPrivateKey, type KeyObject, randomUUID } from 'node:crypto'
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { SignJWT } from 'jose'
import { LRUCache } from 'lru-cache'
import { membersOf } from '../decision/json-text.ts'
import type { JsonText } from '../decision/request.ts'
import { checkStrictJson } from '../decision/strict-json.ts'
import { decodeUtf8 } from '../decision/utf8.ts'
import { PdpError } from '../errors.ts'
import { type ClientTls, readBody, sendTo } from '../network/client.ts'
import { readText } from './files.ts'
import { refused } from './jwt.ts'

export interface IntrospectionOptions {
  /** https; or http on a loopback address. */
  readonly url: string
  readonly clientId: string
  /** Private key in PEM for assertions; undefined: the certificate says who asks. */
  readonly key?: { readonly file: string; readonly algorithm: string; readonly id?: string | undefined } | undefined
  /** Of assertions: how the issuer calls itself. */
  readonly audience: string
  readonly tls?: ClientTls | undefined
  /** For how long an answer is believed at most; 0: not at all. Milliseconds. */
  readonly cacheMs: number
  readonly timeoutMs: number
  /** Told of what failed. */
  readonly onError: (message: string) => void
  /** Told of each request: how long it took, in milliseconds, and whether there was an answer that can be used. */
  readonly onAsked?: ((ms: number, isAnswered: boolean) => void) | undefined
}

const maxAnswerBytes = 65_536
const maxCachedBytes = 16 * 1024 * 1024
/** Tokens that are asked about at one time; further ones are refused at once. */
const maxAsked = 200
const assertionSeconds = 60
const limits = { maxDepth: 16, maxMembers: 1_000, forbidPrototypeKeys: true }
const inactive = ''

export class Introspection {
  readonly #options: IntrospectionOptions
  readonly #agent: HttpAgent
  readonly #closing = new AbortController()
  /** By the digest of a token, so that none is kept: its claims, or nothing where it is not active. */
  readonly #answers: LRUCache<string, JsonText>
  readonly #asked = new Map<string, Promise<JsonText>>()
  #key: { readonly text: string; readonly key: KeyObject } | undefined

  /** @throws PdpError ERR_CONFIG_INVALID for a key that cannot be read */
  constructor(options: IntrospectionOptions) {
    this.#options = options
    this.#agent = options.url.startsWith('https:') ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true })
    this.#answers = new LRUCache({ maxSize: maxCachedBytes, sizeCalculation: (text, key) => text.length + key.length + 64 })
    if (options.key !== undefined) this.#privateKey(options.key.file)
  }

  /**
   * @param nowMs milliseconds since 1970
   * @returns the claims of a token that is active
   * @throws PdpError ERR_TOKEN_INVALID
   */
  async inspect(token: string, nowMs: number): Promise<JsonText> {
    const digest = createHash('sha256').update(token).digest('base64url')
    const claims = this.#answers.get(digest) ?? (await this.#askOnce(digest, token, nowMs))
    if (claims === inactive) throw refused('inactive', 'its issuer says that it is not active')
    return claims
  }

  /** Those who bring one token at one time wait for one answer. */
  #askOnce(digest: string, token: string, nowMs: number): Promise<JsonText> {
    const known = this.#asked.get(digest)
    if (known !== undefined) return known
    if (this.#asked.size >= maxAsked) throw refused('not_verifiable', 'its issuer is asked about too many tokens already')
    const asking = this.#ask(token)
      .then((claims) => {
        const ttl = Math.min(this.#options.cacheMs, claims === inactive ? Number.POSITIVE_INFINITY : expiryOf(claims) - nowMs)
        if (ttl > 0) this.#answers.set(digest, claims, { ttl })
        return claims
      })
      .finally(() => this.#asked.delete(digest))
    this.#asked.set(digest, asking)
    return asking
  }

  async #ask(token: string): Promise<JsonText> {
    const { url, tls, timeoutMs, onError, onAsked } = this.#options
    const began = performance.now()
    let isAnswered = false
    try {
      const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(timeoutMs)])
      const body = new URLSearchParams({ token, token_type_hint: 'access_token', ...(await this.#credentials()) }).toString()
      const headers = {
        accept: 'application/json',
        'content-type': 'application/x-www-form-urlencoded',
        'content-length': `${body.length}`,
      }
      const response = await sendTo(url, { method: 'POST', headers, body, tls, agent: this.#agent, signal })
      if (response.statusCode !== 200) {
        response.resume()
        throw new Error(`the status is ${response.statusCode}`)
      }
      if (!/^application\/json\b/i.test(response.headers['content-type'] ?? '')) {
        response.destroy()
        throw new Error('its answer is not JSON')
      }
      const bytes = await readBody(response, maxAnswerBytes, () => new Error(`its answer has more than ${maxAnswerBytes} bytes`))
      const claims = activeClaims(decodeUtf8(bytes))
      isAnswered = true
      return claims
    } catch (thrown) {
      if (!this.#closing.signal.aborted) onError(`tokens cannot be asked about at \`${url}\`: ${(thrown as Error).message}`)
      throw refused('not_verifiable', 'its issuer cannot be asked', thrown)
    } finally {
      onAsked?.(performance.now() - began, isAnswered)
    }
  }

  async #credentials(): Promise<Record<string, string>> {
    const { clientId, key, audience } = this.#options
    if (key === undefined) return { client_id: clientId }
    const assertion = await new SignJWT({ jti: randomUUID() })
      .setProtectedHeader({ alg: key.algorithm, ...(key.id !== undefined && { kid: key.id }) })
      .setIssuer(clientId)
      .setSubject(clientId)
      .setAudience(audience)
      .setIssuedAt()
      .setExpirationTime(`${assertionSeconds}s`)
      .sign(this.#privateKey(key.file))
    return {
      client_id: clientId,
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: assertion,
    }
  }

  /** As it is in its file now. */
  #privateKey(file: string): KeyObject {
    const text = readText(file, 'introspection.keyFile')
    if (this.#key?.text !== text) {
      try {
        this.#key = { text, key: createPrivateKey(text) }
      } catch (cause) {
        throw new PdpError('ERR_CONFIG_INVALID', `introspection.keyFile: \`${file}\` is no private key in PEM`, { cause })
      }
    }
    return this.#key.key
  }

  close(): void {
    this.#closing.abort()
    this.#agent.destroy()
  }
}

/** @returns the answer itself, or `inactive`; @throws for what is no answer */
function activeClaims(text: string): JsonText {
  const active = checkStrictJson(text, limits).get('active')
  if (active !== 'true' && active !== 'false') throw new Error('its answer does not say whether the token is active')
  return active === 'true' ? text : inactive
}

/** @returns milliseconds since 1970; what has no expiry is refused later, and not kept */
function expiryOf(claims: JsonText): number {
  return Number(membersOf(claims).get('exp') ?? 0) * 1_000
}
