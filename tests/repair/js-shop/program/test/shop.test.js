'use strict';
const assert = require('assert');
const { Cart } = require('../lib/cart');
const { slug, initials, paginate, groupBy, chunk, median } = require('../lib/text');

let failed = 0;
function test(name, body) {
  try {
    body();
    console.log(`ok - ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`not ok - ${name}`);
    console.log(error.stack);
  }
}

test('a cart adds up', () => {
  const cart = new Cart().add('pen', 2, 3).add('book', 10).add('pen', 2);
  assert.strictEqual(cart.subtotal(), 18);
  assert.strictEqual(cart.lines.length, 2);
  assert.strictEqual(cart.total(), 23);
  assert.strictEqual(cart.total({ percent: 50 }), 14);
});

test('shipping', () => {
  assert.strictEqual(new Cart().shipping(), 0);
  assert.strictEqual(new Cart().add('a', 50).shipping(), 0);
  assert.strictEqual(new Cart().add('a', 49).shipping(), 5);
});

test('bad lines', () => {
  assert.throws(() => new Cart().add('a', -1), RangeError);
  assert.throws(() => new Cart().add('a', 1, 0), RangeError);
});

test('removing', () => {
  const cart = new Cart().add('a', 1).add('b', 2);
  assert.strictEqual(cart.remove('a'), true);
  assert.strictEqual(cart.remove('a'), false);
  assert.strictEqual(cart.subtotal(), 2);
});

test('words', () => {
  assert.strictEqual(slug('Hello, World!'), 'hello-world');
  assert.strictEqual(initials({ name: 'ada lovelace' }), 'AL');
  assert.strictEqual(initials(null), '?');
  assert.strictEqual(initials({}), '?');
});

test('pages', () => {
  assert.deepStrictEqual(paginate([1, 2, 3, 4, 5], 2, 2), { items: [3, 4], pages: 3 });
  assert.deepStrictEqual(chunk([1, 2, 3], 2), [[1, 2], [3]]);
});

test('groups', () => {
  const groups = groupBy([{ k: 'a', n: 1 }, { k: 'b', n: 2 }, { k: 'a', n: 3 }], 'k');
  assert.deepStrictEqual(Object.keys(groups), ['a', 'b']);
  assert.strictEqual(groups.a.length, 2);
});

test('median', () => {
  assert.strictEqual(median([10, 9, 1]), 9);
  assert.strictEqual(median([4, 1, 3, 2]), 2.5);
  assert.strictEqual(median([]), null);
});

process.exit(failed ? 1 : 0);
