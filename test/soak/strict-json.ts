// Fuzzes the strict JSON reader for some minutes: strict-json.ts MINUTES. Bytes of valid documents are changed at random;
// what the reader accepts, JSON.parse must accept with the same value, and nothing may throw without a code.
import { parseStrictJson } from '../../src/decision/strict-json.ts'
import { decodeUtf8 } from '../../src/decision/utf8.ts'
import { PdpError } from '../../src/errors.ts'

const minutes = Number(process.argv[2] ?? 1)
const limits = { maxDepth: 32, maxMembers: 1_000, forbidPrototypeKeys: true }
const seeds = [
  '{"subject":{"type":"user","id":"alice","properties":{"a":[1,2.5,-0,1e400]}},"action":{"name":"read"},"resource":{"type":"d","id":"1"}}',
  '{"a":"\\ud83d\\ude00\\u0000\\"\\\\","b":[[],{},[{}],null,true,false],"c":{"d":{"e":{"f":"\u00e9"}}}}',
  '[12345678901234567890,1.0,"x","",{"k":"v","k2":["w"]}]',
].map((text) => Buffer.from(text))

const end = Date.now() + minutes * 60_000
let tried = 0
let accepted = 0
while (Date.now() < end) {
  for (let i = 0; i < 1_000; i++) {
    const bytes = mutate(seeds[Math.floor(Math.random() * seeds.length)] as Buffer)
    tried++
    try {
      const text = decodeUtf8(bytes)
      const { value, members } = parseStrictJson(text, limits)
      accepted++
      if (JSON.stringify(value) !== JSON.stringify(JSON.parse(text))) throw new Error('another value')
      for (const [key, member] of members) {
        if (JSON.stringify(JSON.parse(member)) !== JSON.stringify((value as Record<string, unknown>)[key]))
          throw new Error(`another member ${key}`)
      }
    } catch (thrown) {
      if (thrown instanceof PdpError) continue
      process.stderr.write(`${(thrown as Error).message}: ${bytes.toString('base64')}\n`)
      process.exit(1)
    }
  }
}
process.stdout.write(`${tried} documents, ${accepted} accepted, no difference\n`)

function mutate(seed: Buffer): Buffer {
  let bytes = Buffer.from(seed)
  for (let n = Math.floor(Math.random() * 4); n >= 0; n--) {
    const at = Math.floor(Math.random() * bytes.length)
    const kind = Math.random()
    if (kind < 0.4) bytes[at] = Math.floor(Math.random() * 256)
    else if (kind < 0.7) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + Math.floor(Math.random() * 8))])
    else bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.floor(Math.random() * bytes.length)), bytes.subarray(at)])
    if (bytes.length === 0) return Buffer.from('{}')
  }
  return bytes
}
