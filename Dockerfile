FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY neptun_mcp ./neptun_mcp
RUN python -m venv /app && /app/bin/pip install --no-cache-dir ".[otel]" "uvloop<1" && /app/bin/pip uninstall -y pip

FROM python:3.13-slim
COPY --from=build /app /app
ENV PATH="/app/bin:$PATH" PYTHONUNBUFFERED=1 NEPTUN_LOG_FORMAT=json
USER 65534:65534
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
# One process: the platform adds more.
CMD ["neptun-mcp", "serve", "--http", "--host", "0.0.0.0"]
