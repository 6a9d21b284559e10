// A soak: builds.ts COUNT. One toolchain builds policy after policy, as that of a service does that is pushed to for months: each build
// succeeds, and the process holds no more memory for many than for a few.
import { Toolchain } from '../../src/rego/toolchain.ts'
import { abacPolicy } from '../bench/abac.ts'

const count = Number(process.argv[2] ?? 1_000)
const maxBytes = 2 ** 30
const toolchain = new Toolchain()
let most = 0
for (let i = 0; i < count; i++) {
  // One of a single rule leaves next to nothing behind.
  await toolchain.build({ files: { 'p.rego': `${abacPolicy}\n# ${i}\n` } }, [])
  most = Math.max(most, process.memoryUsage().rss)
}
await toolchain.close()
process.stdout.write(`${count} builds, ${Math.round(most / 2 ** 20)} MiB of resident memory at most\n`)
process.exit(most > maxBytes ? 1 : 0)
