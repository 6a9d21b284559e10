// What Fastify and Node find wrong with a request, in our codes, and where answers to failures go out.
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { PdpError, toPdpError } from '../../errors.ts'
import { errorAnswer, errorText, type Statuses } from './answer.ts'
import { httpStatus } from './status.ts'

/** @param statuses see errorAnswer */
export function sendError(request: FastifyRequest, reply: FastifyReply, error: PdpError, statuses?: Statuses): FastifyReply {
  const { status, headers, body } = errorAnswer(error, request.id, request.method, request.log, statuses)
  return reply.code(status).headers(headers).send(body)
}

/** What Fastify itself found wrong, in our codes. */
export function fromFastify(error: FastifyError | PdpError): PdpError {
  if (error instanceof PdpError) return error
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new PdpError('ERR_BODY_TOO_LARGE', 'the body is larger than server.maxBodyBytes')
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new PdpError('ERR_UNSUPPORTED_MEDIA_TYPE', 'the content type must be application/json')
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return new PdpError('ERR_INVALID_REQUEST', 'the body is empty')
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new PdpError('ERR_BAD_HTTP', 'the body is not as long as Content-Length says')
    case 'FST_ERR_BAD_URL':
      return new PdpError('ERR_NOT_FOUND', 'no such route')
  }
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return new PdpError('ERR_BAD_HTTP', 'the request is malformed', { cause: error })
  }
  return toPdpError(error)
}

/** For what does not get as far as a request: answers on the socket and closes it. */
export function refuseOnSocket(error: NodeJS.ErrnoException, socket: Socket): PdpError | undefined {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return undefined
  }
  const refused =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? new PdpError('ERR_HEADERS_TOO_LARGE', 'the header fields are too large')
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? new PdpError('ERR_REQUEST_TIMEOUT', 'the request took too long to arrive')
        : new PdpError('ERR_BAD_HTTP', 'the request is not valid HTTP/1.1')
  const status = httpStatus[refused.code]
  const body = errorText(refused, '')
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
  return refused
}
