// What policies may reach with http.send and net.lookup_ip_addr: a list of hosts, and addresses that no host name may
// lead to unless they are listed themselves.
//
// A name is checked when it is asked for, and again what it resolved to: else whoever answers for a listed name could
// lead a policy to this machine, its neighbours or the cloud's metadata service.
import { BlockList, isIP } from 'node:net'

export interface Reach {
  /** @param port of the URL; undefined for a look-up of the name alone */
  allowsHost(host: string, port: number | undefined): boolean
  /** Whether a name that may be reached may lead there. */
  allowsAddress(address: string, port: number): boolean
}

/** Networks that names do not lead to. @see RFC 6890, RFC 4193, RFC 4291 */
// biome-ignore format: rows of a table
const inner: readonly (readonly [string, number, 'ipv4' | 'ipv6'])[] = [
  ['0.0.0.0', 8, 'ipv4'], ['10.0.0.0', 8, 'ipv4'], ['100.64.0.0', 10, 'ipv4'], ['127.0.0.0', 8, 'ipv4'], ['169.254.0.0', 16, 'ipv4'],
  ['172.16.0.0', 12, 'ipv4'], ['192.0.0.0', 24, 'ipv4'], ['192.168.0.0', 16, 'ipv4'], ['198.18.0.0', 15, 'ipv4'], ['224.0.0.0', 3, 'ipv4'],
  ['::', 127, 'ipv6'], ['64:ff9b::', 96, 'ipv6'], ['fc00::', 7, 'ipv6'], ['fe80::', 10, 'ipv6'], ['ff00::', 8, 'ipv6'],
]

/**
 * @param entries each a host name, `*.` and a domain, an address or a network (`10.1.0.0/16`); names and addresses may
 * have `:port`
 */
export function createReach(entries: readonly string[]): Reach {
  const listed = new BlockList()
  const names: { suffix: string; whole: boolean; port: number | undefined }[] = []
  for (const entry of entries) {
    const [, network, bits] = /^([0-9a-fA-F.:]+)\/(\d+)$/.exec(entry) ?? []
    if (network !== undefined) {
      listed.addSubnet(network, Number(bits), family(network))
      continue
    }
    const { host, port } = splitPort(entry.toLowerCase())
    names.push(host.startsWith('*.') ? { suffix: host.slice(1), whole: false, port } : { suffix: host, whole: true, port })
  }
  const closed = new BlockList()
  for (const [address, bits, type] of inner) closed.addSubnet(address, bits, type)
  return {
    allowsHost(host, port) {
      const name = host
        .toLowerCase()
        .replace(/^\[|\]$/g, '')
        .replace(/\.$/, '')
      if (isIP(name) !== 0 && listed.check(name, family(name))) return true
      return names.some((entry) => {
        const fits = entry.whole ? name === entry.suffix : name.endsWith(entry.suffix) && name.length > entry.suffix.length
        return fits && (port === undefined || entry.port === undefined || entry.port === port)
      })
    },
    allowsAddress(address, port) {
      const plain = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address
      return !closed.check(plain, family(plain)) || this.allowsHost(plain, port)
    },
  }
}

function splitPort(entry: string): { host: string; port: number | undefined } {
  const bracketed = /^\[([^\]]+)\](?::(\d+))?$/.exec(entry)
  if (bracketed !== null) return { host: bracketed[1] as string, port: bracketed[2] === undefined ? undefined : Number(bracketed[2]) }
  if (isIP(entry) === 6) return { host: entry, port: undefined }
  const [, host = entry, port] = /^(.*):(\d+)$/.exec(entry) ?? []
  return { host, port: port === undefined ? undefined : Number(port) }
}

function family(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4'
}
