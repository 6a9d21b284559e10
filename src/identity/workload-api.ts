// The SPIFFE Workload API: the service's own certificate and the authorities of trust domains from the agent on this machine, over a
// Unix socket, for as long as the service runs. Each message is all that there is: what it does not name is over.
//
// INVARIANT: what the agent takes back is not used any longer; what it is merely silent about is, until it expires.

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { Client, type ClientReadableStream, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { PdpError } from '../errors.ts'
import { growingPauseMs } from '../network/growing-pause.ts'
import { readWorkloadUpdate, splitCertificates, type WorkloadUpdate } from './workload-messages.ts'
import { revocationListOf } from './x509.ts'
import type { TrustBundle } from './x509-svid.ts'

/** What the agent said last. */
export interface WorkloadState {
  /** PEM; undefined: the agent gives this service no identity. */
  readonly pair: { readonly cert: string; readonly key: string } | undefined
  /** By trust domain. */
  readonly bundles: ReadonlyMap<string, TrustBundle>
}

const method = '/SpiffeWorkloadAPI/FetchX509SVID'
const firstAnswerMs = 30_000
const minDelayMs = 100
const maxDelayMs = 10_000
const nothing: WorkloadState = { pair: undefined, bundles: new Map() }

export class WorkloadApi {
  readonly #client: Client
  readonly #onChange: (state: WorkloadState) => void
  readonly #onError: (error: PdpError) => void
  #stream: ClientReadableStream<WorkloadUpdate> | undefined
  #timer: NodeJS.Timeout | undefined
  #failures = 0
  #isClosed = false
  /** Waits for what the agent says first. */
  #first: ((state: WorkloadState) => void) | undefined

  /**
   * @param socket path of the agent's socket, or a URL as SPIFFE_ENDPOINT_SOCKET has it
   * @param onChange told of everything that the agent says behind its first answer
   * @param onError told of what failed; it is tried again
   */
  constructor(socket: string, onChange: (state: WorkloadState) => void, onError: (error: PdpError) => void) {
    const target = /^(?:unix|tcp):/.test(socket) ? socket.replace(/^tcp:\/\//, '') : `unix:${socket}`
    this.#client = new Client(target, credentials.createInsecure())
    this.#onChange = onChange
    this.#onError = onError
  }

  /**
   * Begins.
   * @returns what the agent says first
   * @throws PdpError ERR_CONFIG_INVALID where it says nothing for half a minute, or gives no identity
   */
  async start(): Promise<WorkloadState> {
    const state = await new Promise<WorkloadState>((resolve, reject) => {
      const timer = setTimeout(() => reject(failed('the agent does not answer')), firstAnswerMs)
      this.#first = (first) => {
        clearTimeout(timer)
        resolve(first)
      }
      this.#follow()
    })
    if (state.pair === undefined) throw failed('the agent has no identity for this service')
    return state
  }

  #follow(): void {
    const metadata = new Metadata()
    // The standard asks for it, so that no redirected request of a browser is taken for a workload's.
    metadata.set('workload.spiffe.io', 'true')
    const stream = this.#client.makeServerStreamRequest(method, (bytes: Buffer) => bytes, readWorkloadUpdate, Buffer.alloc(0), metadata)
    this.#stream = stream
    stream.on('data', (update: WorkloadUpdate) => {
      try {
        this.#deliver(stateOf(update))
        this.#failures = 0
      } catch (cause) {
        this.#onError(failed(`what the agent said cannot be used: ${(cause as Error).message}`, cause))
      }
    })
    stream.on('error', (error: ServiceError) => {
      if (this.#isClosed) return
      this.#onError(failed(error.message, error))
      if (error.code === status.PERMISSION_DENIED) this.#deliver(nothing)
    })
    stream.on('close', () => {
      if (this.#isClosed) return
      this.#timer = setTimeout(() => this.#follow(), growingPauseMs(this.#failures++, minDelayMs, maxDelayMs))
    })
  }

  #deliver(state: WorkloadState): void {
    const first = this.#first
    this.#first = undefined
    if (first === undefined) this.#onChange(state)
    else first(state)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#stream?.cancel()
    this.#client.close()
  }
}

/** @throws Error for what cannot be used: then what was said before stays */
function stateOf({ svids, lists, federated }: WorkloadUpdate): WorkloadState {
  const [own] = svids
  if (own === undefined) return nothing
  const known = lists.map((list) => revocationListOf(list))
  const bundles = new Map<string, TrustBundle>()
  const add = (domain: string, der: Uint8Array) => {
    const authorities = splitCertificates(der).map((one) => new X509Certificate(one))
    const ofDomain = known.filter((list) => authorities.some((one) => list.isSignedBy(one)))
    bundles.set(domain, { authorities, lists: ofDomain.length > 0 ? ofDomain : undefined })
  }
  for (const [id, der] of federated) add(domainOf(id), der)
  add(domainOf(own.spiffeId), own.bundle)
  const cert = splitCertificates(own.chain)
    .map((one) => new X509Certificate(one).toString())
    .join('')
  return { pair: { cert, key: pemOf(own.key) }, bundles }
}

function domainOf(id: string): string {
  return id.replace(/^spiffe:\/\//, '').split('/')[0] as string
}

function pemOf(key: Uint8Array): string {
  return createPrivateKey({ key: Buffer.from(key), format: 'der', type: 'pkcs8' }).export({ type: 'pkcs8', format: 'pem' }) as string
}

function failed(what: string, cause?: unknown): PdpError {
  return new PdpError('ERR_CONFIG_INVALID', `the SPIFFE Workload API: ${what}`, { cause })
}
