// Makes the published packages: dist/ with JavaScript, declarations and the toolchain, and its bill of materials; and in dist/client
// the thin client, which is a package of its own without dependencies.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { writeSbom } from './sbom.mjs'

const root = fileURLToPath(new URL('../', import.meta.url))
rmSync(`${root}dist`, { recursive: true, force: true })
execFileSync('npx', ['tsc', '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' })
mkdirSync(`${root}dist/rego/toolchain`, { recursive: true })
for (const file of ['toolchain.wasm.zst', 'toolchain.wasm.sha256', 'NOTICES']) {
  cpSync(`${root}src/rego/toolchain/${file}`, `${root}dist/rego/toolchain/${file}`)
}
writeSbom(root, `${root}dist/sbom.cdx.json`)

const { version, license, engines } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))
const entry = (name) => ({ types: `./${name}.d.ts`, default: `./${name}.js` })
const client = {
  name: 'verdict-pdp-client',
  version,
  description: 'Thin client of the Verdict policy decision point: decisions over HTTP, on any JavaScript runtime, without dependencies',
  license,
  type: 'module',
  sideEffects: false,
  engines,
  exports: { '.': entry('index'), './fastify': entry('fastify'), './express': entry('express'), './grpc': entry('grpc') },
  files: ['*.js', '*.d.ts'],
}
writeFileSync(`${root}dist/client/package.json`, `${JSON.stringify(client, null, 2)}\n`)
cpSync(`${root}docs/client.md`, `${root}dist/client/README.md`)
