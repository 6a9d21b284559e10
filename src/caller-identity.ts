// Who may call this service, composed from the configuration: tokens, workloads with certificates, trust domains, the service's own
// certificate; each read again when its file changes. What a scope asks for is told here, how identities come about below src/identity/.
import { type ClosableCallerTokens, createCallerTokens } from './caller-tokens.ts'
import type { Config } from './config.ts'
import type { Caller } from './decision/request.ts'
import type { PdpError } from './errors.ts'
import { findIsolated } from './guard/isolation.ts'
import { administrator, adminRoles, type CallerConfig, createCallers, type Role } from './identity/callers.ts'
import { replaceEach } from './identity/files.ts'
import { readPair, ServerCertificate } from './identity/server-certificate.ts'
import { TrustDomains } from './identity/trust-domains.ts'
import { watchFiles } from './identity/watched-files.ts'
import { WorkloadApi } from './identity/workload-api.ts'
import type { ActiveBundles } from './policy/active-bundles.ts'
import { rolesByPolicy } from './policy-roles.ts'
import { createSubjectTokens, type SubjectTokens } from './subject-tokens.ts'
import type { IssuerNews, TokenStores } from './token-verifier.ts'
import type { Admission, AdmissionOutcome } from './transport/admission.ts'
import type { TlsSettings } from './transport/secure-connections.ts'

export interface CallerIdentity {
  /** Undefined: anybody may ask for decisions, which only a loopback address may offer. */
  readonly decideScope: Admission | undefined
  readonly adminScope: Admission
  hasRole(caller: Caller, role: Role): boolean
  /** Why callers cannot be known now; empty: they can. */
  notReady(): string[]
  /** Undefined: clear text. */
  readonly tls: TlsSettings | undefined
  /** What became of handshakes and of requests, since the start. */
  readonly counts: Counts
  /** Tokens of subjects; undefined: none can be verified. */
  readonly verifySubject: SubjectTokens['verify']
  /** When the last authority of each trust domain expires. Milliseconds since 1970 */
  readonly authorityExpiries: () => readonly (readonly [trustDomain: string, ms: number])[]
  close(): void
}

export interface Counts {
  /** By `accepted`, or the code of the refusal. */
  readonly handshakes: Record<string, number>
  /** By how the caller is known, or the code of the refusal. */
  readonly requests: Record<AdmissionOutcome, number>
}

export interface CallerFacts extends TokenStores {
  readonly adminToken: string
  /** Names that are served, in lower case; undefined: any. */
  readonly hosts: ReadonlySet<string> | undefined
}

/** What of a logger is used here. */
interface IdentityLog {
  info(facts: object, message: string): void
  error(facts: object, message: string): void
}

/** @throws PdpError ERR_CONFIG_INVALID for files that cannot be read or used, and where the Workload API gives no identity */
export async function createCallerIdentity(
  config: Config,
  { adminToken, hosts, isolations, seen }: CallerFacts,
  bundles: ActiveBundles,
  log: IdentityLog,
  onAsked: IssuerNews['onAsked'],
): Promise<CallerIdentity> {
  const configured = callersOf(config)
  const callers = createCallers(configured, adminToken)
  const { policy } = config.authentication
  const isGiven = policy === undefined ? undefined : rolesByPolicy(bundles, policy)
  const hasRole = (caller: Caller, role: Role) =>
    callers.hasRole(caller, role) || (caller.id !== undefined && caller.id !== administrator && isGiven?.(caller, role) === true)
  const isOpen = policy === undefined && !configured.some(({ roles }) => roles.includes('decide'))
  const counts: Counts = {
    handshakes: { accepted: 0 },
    requests: { certificate: 0, token: 0, ERR_UNAUTHENTICATED: 0, ERR_FORBIDDEN: 0 },
  }
  const count = (outcome: AdmissionOutcome) => void counts.requests[outcome]++
  const domains = new TrustDomains(config.authentication.trustDomains)
  const { tls, close } = await createTls(config, domains, log, counts.handshakes)
  const news = { onAsked, onError: (message: string) => log.error({ code: 'ERR_TOKEN_INVALID' }, message) }
  const closers = [close]
  const closeAll = () => {
    for (const one of closers.splice(0).reverse()) one()
  }
  const opened = async <T extends { close(): void }>(opening: Promise<T>): Promise<T> => {
    const one = await opening
    closers.push(() => one.close())
    return one
  }
  const stores = { isolations, seen }
  let callerTokens: ClosableCallerTokens
  let subjects: SubjectTokens
  try {
    callerTokens = await opened(createCallerTokens(config, hosts, domains, stores, news))
    subjects = await opened(createSubjectTokens(config, domains, stores, news))
  } catch (thrown) {
    closeAll()
    throw thrown
  }
  // Who may not be answered may not act, either.
  const isOut = (caller: Caller) => findIsolated(isolations, caller, Date.now()) !== undefined
  const scope = { verifyToken: callers.verifyToken, tokens: callerTokens.tokens, count }
  return {
    decideScope: isOpen ? undefined : { ...scope, mayEnter: (caller) => hasRole(caller, 'decide') },
    adminScope: { ...scope, mayEnter: (caller) => !isOut(caller) && adminRoles.some((role) => hasRole(caller, role)) },
    hasRole,
    tls,
    counts,
    notReady: () => [
      ...new Set([...callerTokens.notReady(), ...subjects.notReady()]),
      ...(tls?.isUsable() === false ? ['the certificate of the service has expired or was taken back'] : []),
    ],
    verifySubject: subjects.verify,
    authorityExpiries: () => domains.expiries(),
    close: closeAll,
  }
}

function callersOf({ authentication: { decideTokenFile, callers } }: Config): CallerConfig[] {
  return decideTokenFile === undefined ? callers : [...callers, { id: 'token:decide', tokenFile: decideTokenFile, roles: ['decide'] }]
}

async function createTls(
  { server, authentication }: Config,
  domains: TrustDomains,
  log: IdentityLog,
  handshakes: Counts['handshakes'],
): Promise<Pick<CallerIdentity, 'tls' | 'close'>> {
  const failed = ({ code }: PdpError, message: string) => log.error({ code }, message)
  if (server.tls === undefined) {
    return { tls: undefined, close: watchFiles(domains.paths, () => void replaceEach([() => domains.reload()], failed)) }
  }
  const { certFile, keyFile, workloadApi, minVersion, clientCertificates } = server.tls
  const certificate = new ServerCertificate()
  const listeners = new Set<() => void>()
  const closers: (() => void)[] = []
  const change = (...parts: (() => void)[]) => {
    const isWhole = replaceEach(parts, failed)
    for (const listener of listeners) listener()
    if (isWhole) log.info({}, 'certificates changed')
  }
  const files = certFile === undefined || keyFile === undefined ? undefined : ([certFile, keyFile] as const)
  if (files !== undefined) certificate.replace(readPair(...files))
  if (workloadApi !== undefined) {
    const api = new WorkloadApi(
      workloadApi,
      (state) =>
        change(
          () => certificate.replace(state.pair),
          () => domains.setOthers(state.bundles),
        ),
      ({ code, message }) => log.error({ code }, message),
    )
    closers.push(() => api.close())
    const first = await api.start().catch((thrown: unknown) => {
      api.close()
      throw thrown
    })
    certificate.replace(first.pair)
    domains.setOthers(first.bundles)
  }
  closers.push(
    watchFiles([...(files ?? []), ...domains.paths], () =>
      change(
        () => files !== undefined && certificate.replace(readPair(...files)),
        () => domains.reload(),
      ),
    ),
  )
  const hasDomains = authentication.trustDomains.length > 0
  const tls: TlsSettings = {
    minVersion,
    clientCertificates: clientCertificates ?? (hasDomains ? 'required' : 'none'),
    material: () => ({ ...certificate.pair, ca: domains.authorities }),
    isUsable: () => certificate.isUsable(Date.now()),
    expiresAtMs: () => certificate.expiresAtMs,
    verifyPeer(chain) {
      const { id, validUntilMs } = domains.verify(chain, Date.now())
      return { id: id.text, validUntilMs }
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    onRefused({ code, message }: PdpError, peer) {
      handshakes[code] = (handshakes[code] ?? 0) + 1
      log.info({ code, peer }, `refused: ${message}`)
    },
    onAccepted: () => {
      handshakes.accepted = (handshakes.accepted ?? 0) + 1
    },
  }
  return {
    tls,
    close() {
      for (const close of closers) close()
    },
  }
}
