// The software bill of materials in CycloneDX: npm's own list of what is installed for production, and beside it the
// Rego toolchain with its checksum and the Go modules inside of it.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'

/**
 * @param {string} root the repository, with a slash at its end
 * @param {string} file where to write
 */
export function writeSbom(root, file) {
  const bom = JSON.parse(
    execFileSync('npm', ['sbom', '--omit=dev', '--sbom-format=cyclonedx'], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      maxBuffer: 2 ** 26,
    }),
  )
  const toolchain = `${root}src/rego/toolchain/`
  const modules = [...readFileSync(`${toolchain}NOTICES`, 'utf8').matchAll(/^=+\n(\S+) (v\S+)\n=+$/gm)]
  bom.components.push({
    type: 'library',
    'bom-ref': 'toolchain.wasm',
    name: 'toolchain.wasm',
    version: bom.metadata.component.version,
    licenses: [{ license: { id: 'Apache-2.0' } }],
    hashes: [{ alg: 'SHA-256', content: readFileSync(`${toolchain}toolchain.wasm.sha256`, 'utf8').trim() }],
    components: modules.map(([, name, version]) => ({ type: 'library', name, version, purl: `pkg:golang/${name}@${version}` })),
  })
  // Without them the same tree gives the same bytes.
  delete bom.serialNumber
  delete bom.metadata.timestamp
  writeFileSync(file, `${JSON.stringify(bom, undefined, 2)}\n`)
}
