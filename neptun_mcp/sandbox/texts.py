"""The user files of the sample data."""

DOCKERFILE = """\
FROM node:22-alpine AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
RUN npm run build

FROM node:22-alpine
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/.output ./.output
USER node
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=3s CMD wget -qO- http://127.0.0.1:3000/health || exit 1
CMD ["node", ".output/server/index.mjs"]
"""

COMPOSE = """\
services:
  shop:
    build: .
    environment:
      DATABASE_URL: postgres://shop:${POSTGRES_PASSWORD}@db:5432/shop

  proxy:
    image: nginx:1.27-alpine
    ports: ["80:80", "443:443"]
    volumes: ["./nginx.conf:/etc/nginx/nginx.conf:ro"]

  db:
    image: postgres:17-alpine
    volumes: ["./orders:/var/lib/postgresql/data"]
"""

WORKFLOW = """\
name: deploy
on:
  push:
    branches: [main]

jobs:
  deploy:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@v4
      - run: npm ci && npm test
      - run: docker build -t registry.example.com/shop:${{ github.sha }} .
      - run: ssh deploy@shop.example.com ./restart.sh ${{ github.sha }}
"""

NGINX = """\
events {}

http {
  server {
    listen 443 ssl;
    server_name shop.example.com;
    ssl_certificate /etc/nginx/certificates/shop.pem;
    ssl_certificate_key /etc/nginx/certificates/shop.key;
    location / {
      proxy_pass http://shop:3000;
    }
  }
}
"""

README = """\
# Tea shop

Storefront and checkout of a small tea shop.

    cp .env.example .env    # then set POSTGRES_PASSWORD
    docker compose up
"""

RUNBOOK = """\
# Runbook

For whoever is called at night. Each part says how to see the trouble, what to do at once, and what to
leave for the morning. The shop may be slow for an hour; it must not lose an order.

## The shop does not answer

See: the monitor reports three failed checks of https://shop.example.com/health in a row.

1. `ssh deploy@shop.example.com`, then `docker compose ps`. All of shop, proxy and db should be running.
2. The shop keeps restarting: `docker compose logs --tail 100 shop`. If the last deployment is younger than
   an hour, go back to the one before: `./restart.sh $(cat previous-release)`.
3. The proxy is down: usually a certificate that could not be read. `docker compose logs proxy` names it.
   Certificates are renewed on Mondays at 04:00; the old one is kept beside it with the ending `.old`.
4. All of them run, and still no answer: the disk. `df -h /` above 95 % stops the database first. Delete
   images that nobody uses with `docker image prune --all`, which frees about 10 GB.

For the morning: write down which of the four it was. Twice the same is a task, not an accident.

## The database

A backup is written every night at 02:30 and kept for 30 days in the bucket `shop-backups`. To restore:

1. Stop the shop and the API, so that nothing is written: `docker compose stop shop`.
2. Fetch the newest backup: `./backup.sh fetch latest`. It takes about four minutes.
3. Restore into a new volume, never over the old one: `./backup.sh restore --into orders-new`.
4. Point `docker-compose.yml` to the new volume and start again. Keep the old volume for a week.

Orders made after 02:30 are missing then. The payment provider has them all: `python -m orders reconcile`.
"""

NOTE = """\
Ask about the discount codes: they should end at midnight in the customer's time zone, not in UTC.
"""

ORDERS_DOCKERFILE = """\
FROM python:3.13-slim
WORKDIR /srv
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY orders ./orders
USER nobody
CMD ["uvicorn", "orders.app:app", "--host", "0.0.0.0", "--port", "8000"]
"""

ORDERS_ENV = """\
DATABASE_URL=postgres://orders@db:5432/orders
PAYMENT_URL=https://payments.example.com/v2
LOG_LEVEL=info
"""
