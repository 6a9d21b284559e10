// Makes the published package: dist/ with JavaScript, declarations and the toolchain, and its bill of materials.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync } from 'node:fs'
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
