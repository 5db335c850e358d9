'use strict';
// Words, names and lists of orders.

function slug(title) {
  return title
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '');
}

function initials(user) {
  if (!user || !user.name) {
    return '?';
  }
  return user.name
    .split(' ')
    .filter((part) => part.length > 0)
    .map((part) => part[0].toUpperCase())
    .join('');
}

function paginate(items, page, size) {
  const start = (page - 1) * size;
  return {
    items: items.slice(start, start + size),
    pages: Math.ceil(items.length / size),
  };
}

function groupBy(items, key) {
  const groups = {};
  for (const item of items) {
    const name = item[key];
    if (!groups[name]) {
      groups[name] = [];
    }
    groups[name].push(item);
  }
  return groups;
}

function chunk(items, size) {
  const chunks = [];
  let at = 0;
  while (at < items.length) {
    chunks.push(items.slice(at, at + size));
    at += size;
  }
  return chunks;
}

function median(values) {
  if (values.length === 0) {
    return null;
  }
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  if (sorted.length % 2 === 1) {
    return sorted[middle];
  }
  return (sorted[middle - 1] + sorted[middle]) / 2;
}

module.exports = { slug, initials, paginate, groupBy, chunk, median };
