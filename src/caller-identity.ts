// Who may call this service, composed from the configuration: tokens, workloads with certificates, trust domains, the service's own
// certificate; each read again when its file changes. What a scope asks for is told here, how identities come about below src/identity/.
import type { Config } from './config.ts'
import { type PdpError, toPdpError } from './errors.ts'
import { adminRoles, type CallerConfig, type Callers, createCallers, type Role } from './identity/callers.ts'
import { ServerCertificate } from './identity/server-certificate.ts'
import { TrustDomains } from './identity/trust-domains.ts'
import { watchFiles } from './identity/watched-files.ts'
import type { Admission } from './transport/admission.ts'
import type { TlsSettings } from './transport/secure-connections.ts'

export interface CallerIdentity {
  /** Undefined: anybody may ask for decisions, which only a loopback address may offer. */
  readonly decideScope: Admission | undefined
  readonly adminScope: Admission
  hasRole(id: string | undefined, role: Role): boolean
  /** Undefined: clear text. */
  readonly tls: TlsSettings | undefined
  /** Connections by how their handshake ended. */
  readonly handshakes: { accepted: number; refused: number }
  close(): void
}

/** What of a logger is used here. */
interface IdentityLog {
  info(facts: object, message: string): void
  error(facts: object, message: string): void
}

/** @throws PdpError ERR_CONFIG_INVALID for files that cannot be read or used */
export function createCallerIdentity(config: Config, adminToken: string, log: IdentityLog): CallerIdentity {
  const configured = callersOf(config)
  const callers = createCallers(configured, adminToken)
  const isOpen = !configured.some(({ roles }) => roles.includes('decide'))
  const handshakes = { accepted: 0, refused: 0 }
  const { tls, close } = createTls(config, log, handshakes)
  return {
    decideScope: isOpen ? undefined : { verifyToken: callers.verifyToken, mayEnter: (id) => callers.hasRole(id, 'decide') },
    adminScope: { verifyToken: callers.verifyToken, mayEnter: (id) => isOperator(callers, id) },
    hasRole: callers.hasRole,
    tls,
    handshakes,
    close,
  }
}

function isOperator(callers: Callers, id: string): boolean {
  return adminRoles.some((role) => callers.hasRole(id, role))
}

function callersOf({ authentication: { decideTokenFile, callers } }: Config): CallerConfig[] {
  return decideTokenFile === undefined ? callers : [...callers, { id: 'token:decide', tokenFile: decideTokenFile, roles: ['decide'] }]
}

function createTls(
  { server, authentication }: Config,
  log: IdentityLog,
  handshakes: CallerIdentity['handshakes'],
): Pick<CallerIdentity, 'tls' | 'close'> {
  if (server.tls === undefined) return { tls: undefined, close: () => {} }
  const certificate = new ServerCertificate(server.tls)
  const domains = new TrustDomains(authentication.trustDomains)
  const listeners = new Set<() => void>()
  const stop = watchFiles([...certificate.paths, ...domains.paths], () => {
    const failures = [certificate, domains].flatMap((part) => {
      try {
        part.reload()
        return []
      } catch (thrown) {
        return [toPdpError(thrown)]
      }
    })
    for (const { code, message } of failures) log.error({ code }, `${message}; what was read before stays`)
    for (const listener of listeners) listener()
    if (failures.length === 0) log.info({}, 'certificates read again')
  })
  const hasDomains = authentication.trustDomains.length > 0
  const tls: TlsSettings = {
    minVersion: server.tls.minVersion,
    clientCertificates: server.tls.clientCertificates ?? (hasDomains ? 'required' : 'none'),
    material: () => ({ ...certificate.pair, ca: domains.authorities }),
    verifyPeer(chain) {
      const { id, validUntilMs } = domains.verify(chain, Date.now())
      return { id: id.text, validUntilMs }
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    onRefused({ code, message }: PdpError, peer) {
      handshakes.refused++
      log.info({ code, peer }, `refused: ${message}`)
    },
    onAccepted: () => void handshakes.accepted++,
  }
  return { tls, close: stop }
}
