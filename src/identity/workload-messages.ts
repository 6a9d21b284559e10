// The messages of the SPIFFE Workload API that are read here, off the wire. Not the calls: workload-api.ts.
// @see https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_API.md; workload.proto of the same standard
import protobuf from 'protobufjs/minimal.js'

/** One X509SVID. All certificates and keys as DER. */
export interface WorkloadSvid {
  readonly spiffeId: string
  /** Its certificate and those above it, one behind the other. */
  readonly chain: Uint8Array
  /** PKCS#8. */
  readonly key: Uint8Array
  /** The authorities of its trust domain, one behind the other. */
  readonly bundle: Uint8Array
}

/** X509SVIDResponse: all that there is; what is not in it is no longer. */
export interface WorkloadUpdate {
  readonly svids: readonly WorkloadSvid[]
  readonly lists: readonly Uint8Array[]
  /** Authorities of other trust domains, by SPIFFE ID of the domain. */
  readonly federated: ReadonlyMap<string, Uint8Array>
}

/** @throws Error for what is no such message */
export function readWorkloadUpdate(message: Uint8Array): WorkloadUpdate {
  const svids: WorkloadSvid[] = []
  const lists: Uint8Array[] = []
  const federated = new Map<string, Uint8Array>()
  eachField(message, (field, reader) => {
    if (field === 1) svids.push(readSvid(reader.bytes()))
    else if (field === 2) lists.push(reader.bytes())
    else if (field === 3) {
      let domain = ''
      let bundle: Uint8Array = new Uint8Array()
      eachField(reader.bytes(), (inner, entry) => {
        if (inner === 1) domain = entry.string()
        else if (inner === 2) bundle = entry.bytes()
        else return false
        return true
      })
      federated.set(domain, bundle)
    } else return false
    return true
  })
  return { svids, lists, federated }
}

function readSvid(message: Uint8Array): WorkloadSvid {
  const nothing = new Uint8Array()
  const svid: { -readonly [Member in keyof WorkloadSvid]: WorkloadSvid[Member] } = {
    spiffeId: '',
    chain: nothing,
    key: nothing,
    bundle: nothing,
  }
  eachField(message, (field, reader) => {
    if (field === 1) svid.spiffeId = reader.string()
    else if (field === 2) svid.chain = reader.bytes()
    else if (field === 3) svid.key = reader.bytes()
    else if (field === 4) svid.bundle = reader.bytes()
    else return false
    return true
  })
  return svid
}

/** @param take reads the value of a field, or says that it does not know it */
function eachField(message: Uint8Array, take: (field: number, reader: protobuf.Reader) => boolean): void {
  const reader = protobuf.Reader.create(message)
  while (reader.pos < reader.len) {
    const tag = reader.uint32()
    // Every field that is known here is delimited by its length.
    const isKnown = (tag & 7) === 2 && take(tag >>> 3, reader)
    if (!isKnown) reader.skipType(tag & 7)
  }
}

/** Certificates that stand one behind the other, each by itself. @throws RangeError where one is cut off */
export function splitCertificates(der: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = []
  for (let at = 0; at < der.length; ) {
    const length = derLength(der, at)
    if (der[at] !== 0x30 || at + length > der.length) throw new RangeError('it is no row of certificates')
    parts.push(der.subarray(at, at + length))
    at += length
  }
  return parts
}

/** Of a value with its head. */
function derLength(der: Uint8Array, at: number): number {
  const first = der[at + 1] ?? 0
  if (first < 0x80) return 2 + first
  const bytes = first & 0x7f
  if (bytes === 0 || bytes > 4) throw new RangeError('it is no row of certificates')
  let length = 0
  for (let i = 0; i < bytes; i++) length = length * 256 + (der[at + 2 + i] ?? 0)
  return 2 + bytes + length
}
