// What of a configuration does not go together, though each setting by itself is one.
import { isIP } from 'node:net'
import type { Config } from '../config.ts'
import type { Finding } from '../errors.ts'

/** Loopback addresses and names, which no other machine reaches. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host)
}

export function crossChecks(config: Config): Finding[] {
  const faults: Finding[] = []
  const { decideTokenFile, callers, trustDomains } = config.authentication
  if (
    !isLoopback(config.server.host) &&
    decideTokenFile === undefined &&
    config.authentication.policy === undefined &&
    !callers.some(({ roles }) => roles.includes('decide'))
  ) {
    faults.push({
      code: 'config',
      message: `server.host: \`${config.server.host}\` can be reached from other machines, so callers must authenticate: set authentication.callers or decideTokenFile, or listen on 127.0.0.1`,
    })
  }
  for (const proxy of config.gateways.trustedProxies) {
    const [address = '', prefix] = proxy.split('/')
    const family = isIP(address)
    if (family === 0 || (prefix !== undefined && Number(prefix) > (family === 4 ? 32 : 128))) {
      faults.push({ code: 'config', message: `gateways.trustedProxies: \`${proxy}\` is no address and no network` })
    }
  }
  const sinks = [...config.decisionLog.sinks, ...config.decisionLog.checkpointSinks].map(({ name }) => name)
  if (new Set(sinks).size < sinks.length) faults.push({ code: 'config', message: 'decisionLog: a name of sinks is given twice' })
  const ids = new Set(config.keys.map(({ id }) => id))
  if (ids.size < config.keys.length) faults.push({ code: 'config', message: 'keys: an ID is given twice' })
  for (const { name, signature } of config.bundles) {
    const unknown = signature.keys?.find((id) => !ids.has(id))
    if (unknown !== undefined)
      faults.push({ code: 'config', message: `bundles: \`${name}\` wants the key \`${unknown}\`, which \`keys\` does not have` })
  }
  for (const { name, path, pull } of config.bundles) {
    if (path !== undefined && pull !== undefined) faults.push({ code: 'config', message: `bundles: \`${name}\` has a path and a server` })
    if ((pull?.tls?.certFile === undefined) !== (pull?.tls?.keyFile === undefined))
      faults.push({ code: 'config', message: `bundles: \`${name}\`: pull.tls needs both \`certFile\` and \`keyFile\`, or none` })
  }
  if (trustDomains.some(({ bundleFile }) => bundleFile !== undefined) && config.server.tls === undefined)
    faults.push({ code: 'config', message: 'authentication.trustDomains: certificates are shown over TLS only: set server.tls' })
  if (trustDomains.some(({ jwksFile }) => jwksFile !== undefined) && config.authentication.audiences.length === 0)
    faults.push({
      code: 'config',
      message: 'authentication.trustDomains: tokens are believed for an audience only: set authentication.audiences',
    })
  if (config.server.tls?.clientCertificates === 'required' && trustDomains.length === 0)
    faults.push({ code: 'config', message: 'server.tls.clientCertificates: nobody is believed without authentication.trustDomains' })
  const { issuers, audiences, subjects } = config.authentication
  faults.push(
    ...issuerFaults('authentication', issuers, audiences),
    ...issuerFaults('authentication.subjects', subjects.issuers, subjects.audiences),
  )
  const { enabled, urls } = config.authentication.dpop
  if (enabled && urls.length === 0 && config.server.hosts.length === 0 && !isLoopback(config.server.host))
    faults.push({
      code: 'config',
      message: 'authentication.dpop: a proof names the target that it is for: set authentication.dpop.urls or server.hosts',
    })
  const both = subjects.audiences.find((one) => audiences.includes(one))
  if (both !== undefined)
    faults.push({
      code: 'config',
      message: `authentication.subjects.audiences: \`${both}\` is also one of callers, so a caller could be taken for a subject`,
    })
  for (const { issuer } of callers) {
    if (issuer !== undefined && !issuers.some((one) => one.issuer === issuer))
      faults.push({ code: 'config', message: `authentication.callers: the issuer \`${issuer}\` is none of authentication.issuers` })
  }
  for (const { name, bundleFile, crlFile, jwksFile } of trustDomains) {
    if (bundleFile === undefined && (crlFile !== undefined || (jwksFile === undefined && config.server.tls?.workloadApi === undefined)))
      faults.push({ code: 'config', message: `authentication.trustDomains: \`${name}\` needs a bundleFile` })
  }
  for (const { spiffeId } of callers) {
    const domain = spiffeId?.split('/')[2]
    if (domain !== undefined && !trustDomains.some(({ name }) => name === domain))
      faults.push({
        code: 'config',
        message: `authentication.callers: \`${spiffeId}\` is of a trust domain that authentication.trustDomains does not have`,
      })
  }
  const callerIds = callers.flatMap(({ id }) => (id === undefined ? [] : [id]))
  if (new Set(callerIds).size < callerIds.length) faults.push({ code: 'config', message: 'authentication.callers: an ID is given twice' })
  if (new Set(trustDomains.map(({ name }) => name)).size < trustDomains.length)
    faults.push({ code: 'config', message: 'authentication.trustDomains: a name is given twice' })
  const names = config.bundles.map((bundle) => bundle.name)
  for (const name of new Set(names.filter((name, i) => names.indexOf(name) !== i))) {
    faults.push({ code: 'config', message: `bundles: the name \`${name}\` is given twice` })
  }
  return faults
}

function issuerFaults(
  where: string,
  issuers: Config['authentication']['issuers'],
  audiences: Config['authentication']['audiences'],
): Finding[] {
  const faults: string[] = []
  if (issuers.length > 0 && audiences.length === 0) faults.push(`tokens are believed for an audience only: set ${where}.audiences`)
  if (new Set(issuers.map(({ issuer }) => issuer)).size < issuers.length) faults.push('an issuer is given twice')
  for (const { jwksUrl, introspection } of issuers) {
    const url = jwksUrl ?? introspection?.url
    if (url?.startsWith('http:') && !isLoopback(new URL(url).hostname)) faults.push(`\`${url}\` is not https`)
  }
  if (issuers.filter(({ introspection }) => introspection !== undefined).length > 1)
    faults.push('a token that only its issuer can read does not say whose it is: only one may have `introspection`')
  return faults.map((message) => ({ code: 'config', message: `${where}.issuers: ${message}` }))
}
