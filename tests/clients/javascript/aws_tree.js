// AWS's SDK for JavaScript: streams up in parts with checksums, pages, ranges, conditions, copies.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createReadStream, readFileSync, readdirSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import {
  CopyObjectCommand, DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand, PutObjectCommand,
  S3Client, paginateListObjectsV2,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'

const [endpoint, accessKeyId, secretAccessKey, Bucket, root] = process.argv.slice(2)
const client = new S3Client({
  endpoint, region: 'us-east-1', forcePathStyle: true,
  credentials: { accessKeyId, secretAccessKey },
})

const digest = (data) => createHash('sha256').update(data).digest('hex')
const files = readdirSync(root, { recursive: true })
  .map((name) => join(root, name))
  .filter((path) => statSync(path).isFile())
const names = files.map((path) => relative(root, path)).sort()

for (const path of files) {
  const Body = createReadStream(path)
  const Key = relative(root, path)
  await new Upload({ client, params: { Bucket, Key, Body, ChecksumAlgorithm: 'CRC32C' } }).done()
}
const listed = []
for await (const page of paginateListObjectsV2({ client, pageSize: 2 }, { Bucket })) {
  listed.push(...(page.Contents ?? []).map((entry) => entry.Key))
}
assert.deepEqual(listed.sort(), names)
for (const path of files) {
  const Key = relative(root, path)
  const expected = readFileSync(path)
  const answer = await client.send(new GetObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }))
  assert.equal(digest(await answer.Body.transformToByteArray()), digest(expected), Key)
  const copied = `copies/${Key}`
  const CopySource = `${Bucket}/${Key.split('/').map(encodeURIComponent).join('/')}`
  await client.send(new CopyObjectCommand({ Bucket, Key: copied, CopySource }))
  const head = await client.send(new HeadObjectCommand({ Bucket, Key: copied }))
  assert.equal(head.ContentLength, expected.length)
  if (expected.length > 100) {
    const Range = 'bytes=10-49'
    const part = await client.send(new GetObjectCommand({ Bucket, Key: copied, Range }))
    assert.deepEqual(Buffer.from(await part.Body.transformToByteArray()), expected.subarray(10, 50))
  }
}
const Key = 'once'
await client.send(new PutObjectCommand({ Bucket, Key, Body: 'first', IfNoneMatch: '*' }))
await assert.rejects(
  client.send(new PutObjectCommand({ Bucket, Key, Body: 'second', IfNoneMatch: '*' })),
  { name: 'PreconditionFailed' },
)
const read = await client.send(new GetObjectCommand({ Bucket, Key }))
assert.equal(await read.Body.transformToString(), 'first')
const Objects = [...names, ...names.map((name) => `copies/${name}`), Key].map((Key) => ({ Key }))
const gone = await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }))
assert.equal(gone.Deleted.length, Objects.length)
await assert.rejects(client.send(new GetObjectCommand({ Bucket, Key })), { name: 'NoSuchKey' })
console.log('done')
