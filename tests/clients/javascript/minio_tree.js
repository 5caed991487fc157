// MinIO's SDK: files up in parts, listed, read whole and in part, by a link, with metadata and
// tags, and removed.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createReadStream, readFileSync, readdirSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { Client } from 'minio'

const [url, accessKey, secretKey, bucket, root] = process.argv.slice(2)
const { hostname, port } = new URL(url)
const client = new Client({
  endPoint: hostname, port: Number(port), useSSL: false, accessKey, secretKey, region: 'us-east-1',
})

const digest = (data) => createHash('sha256').update(data).digest('hex')
const collect = async (stream) => {
  const pieces = []
  for await (const piece of stream) pieces.push(piece)
  return pieces
}
const files = readdirSync(root, { recursive: true })
  .map((name) => join(root, name))
  .filter((path) => statSync(path).isFile())

for (const path of files) {
  const name = relative(root, path)
  const size = statSync(path).size
  const metadata = { 'Content-Type': 'text/x-mine', 'X-Amz-Meta-Colour': 'red' }
  await client.putObject(bucket, name, createReadStream(path), size, metadata)
}
const names = files.map((path) => relative(root, path)).sort()
const listed = await collect(client.listObjectsV2(bucket, '', true))
assert.deepEqual(listed.map((entry) => entry.name).sort(), names)
for (const path of files) {
  const name = relative(root, path)
  const expected = readFileSync(path)
  const stat = await client.statObject(bucket, name)
  assert.equal(stat.size, expected.length)
  assert.equal(stat.metaData['content-type'], 'text/x-mine')
  assert.equal(stat.metaData.colour, 'red')
  const whole = Buffer.concat(await collect(await client.getObject(bucket, name)))
  assert.equal(digest(whole), digest(expected), name)
  if (expected.length > 100) {
    const part = Buffer.concat(await collect(await client.getPartialObject(bucket, name, 50, 40)))
    assert.deepEqual(part, expected.subarray(50, 90))
  }
  const link = await client.presignedGetObject(bucket, name, 60)
  const answer = await fetch(link)
  assert.equal(answer.status, 200)
  assert.equal(digest(Buffer.from(await answer.arrayBuffer())), digest(expected))
}
await client.setObjectTagging(bucket, names[0], { a: 'b' })
assert.deepEqual(await client.getObjectTagging(bucket, names[0]), [{ Key: 'a', Value: 'b' }])
const put = await client.presignedPutObject(bucket, 'by link', 60)
assert.equal((await fetch(put, { method: 'PUT', body: 'sent' })).status, 200)
await client.removeObjects(bucket, [...names, 'by link'])
assert.deepEqual(await collect(client.listObjectsV2(bucket, '', true)), [])
await assert.rejects(client.statObject(bucket, names[0]), { code: 'NotFound' })
console.log('done')
