// The embedded mode: questions answered in the asking process, by the service's own engine and bundles. What the process cannot know or
// prove is asked of the service, so that every answer is one that the service would give.
export type { Answer, CallOptions, Question } from '../client/index.ts'
export { createEmbedded, type Embedded, type EmbeddedOptions } from './embedded.ts'
