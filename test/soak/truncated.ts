// A soak: a small signed bundle cut at every byte is refused, each time with a code of ours, and so is one with any byte changed
// that its signature covers (every 97th). What is refused here is refused before anything is kept or activated.
import { generateKeyPairSync } from 'node:crypto'
import { readArchive, writeArchive } from '../../src/bundles/archive.ts'
import { buildBundle } from '../../src/bundles/build-bundle.ts'
import { signaturesFile, signFiles, verifySignatures } from '../../src/bundles/signatures.ts'
import { PdpError } from '../../src/errors.ts'
import { Toolchain } from '../../src/rego/toolchain.ts'

const changedEvery = 97
const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const toolchain = new Toolchain()
const policy = 'package p\n\n# METADATA\n# entrypoint: true\nallow if input.subject.id == data.owner\n'
const plain = await buildBundle(
  { modules: { 'p.rego': policy }, data: '{"owner":"alice"}', manifest: undefined, inputSchema: undefined, vectors: undefined },
  toolchain,
)
await toolchain.close()
const files = await readArchive(plain)
const signatures = await signFiles(files, { id: 'ci', algorithm: 'EdDSA', key: privateKey }, {}, Date.now())
const archive = await writeArchive(new Map<string, Uint8Array | string>([...files, [signaturesFile, signatures]]))
const demands = {
  keys: [{ id: 'ci', algorithm: 'EdDSA', key: publicKey }],
  scope: undefined,
  requireExpiry: false,
  requireSequence: false,
} as const
const read = async (bytes: Buffer) => {
  if ((await verifySignatures(await readArchive(bytes), 'main', demands, Date.now())) === undefined)
    throw new PdpError('ERR_BUNDLE_SIGNATURE', 'not signed')
}

await read(archive)
let wrong = 0
for (let cut = 0; cut < archive.length; cut++) if (!(await isRefused(archive.subarray(0, cut)))) wrong++
let changed = 0
for (let at = 0; at < archive.length; at += changedEvery, changed++) {
  const other = Buffer.from(archive)
  other[at] = (other[at] as number) ^ 0x55
  // The head of gzip (time, operating system) and flags of no effect are not part of what is signed.
  if (at >= 10 && !(await isRefused(other))) wrong++
}
process.stdout.write(`${archive.length} cuts and ${changed} changes, ${wrong} not refused\n`)
process.exit(wrong === 0 ? 0 : 1)

async function isRefused(bytes: Buffer): Promise<boolean> {
  try {
    await read(bytes)
    return false
  } catch (thrown) {
    return thrown instanceof PdpError && thrown.code !== 'ERR_INTERNAL'
  }
}
