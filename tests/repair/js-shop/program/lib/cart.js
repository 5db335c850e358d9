'use strict';
// A cart with discounts and shipping.

const FREE_SHIPPING = 50;

class Cart {
  constructor() {
    this.lines = [];
  }

  add(name, price, count = 1) {
    if (price < 0 || count <= 0) {
      throw new RangeError('price and count must be positive');
    }
    const line = this.lines.find((one) => one.name === name);
    if (line) {
      line.count += count;
    } else {
      this.lines.push({ name, price, count });
    }
    return this;
  }

  remove(name) {
    const at = this.lines.findIndex((one) => one.name === name);
    if (at === -1) {
      return false;
    }
    this.lines.splice(at, 1);
    return true;
  }

  subtotal() {
    let sum = 0;
    for (const line of this.lines) {
      sum += line.price * line.count;
    }
    return sum;
  }

  shipping() {
    const sum = this.subtotal();
    if (sum === 0 || sum >= FREE_SHIPPING) {
      return 0;
    }
    return 5;
  }

  total(coupon) {
    let sum = this.subtotal();
    if (coupon && coupon.percent) {
      sum -= (sum * coupon.percent) / 100;
    }
    return sum + this.shipping();
  }
}

module.exports = { Cart, FREE_SHIPPING };
