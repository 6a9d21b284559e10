// Jest's transform for TypeScript: Node's own type stripping, so tests run the very text that production runs.
// It checks no types; `npm run typecheck` does.
import { createHash } from 'node:crypto'
import { stripTypeScriptTypes } from 'node:module'
import process from 'node:process'

export default {
  getCacheKey(source, path, { instrument }) {
    return createHash('sha256').update(`${process.version}\0${path}\0${instrument}\0${source}`).digest('hex')
  },
  process(source) {
    return { code: stripTypeScriptTypes(source) }
  },
}
